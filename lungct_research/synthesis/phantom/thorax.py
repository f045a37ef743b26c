"""A thorax CT whose lobes and opacities are known to the voxel.

Everything is analytic and drawn from one seed: the same seed and grid give the same voxels, another
spacing shows the same person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lungct.records import Lobe, MaskArray
from lungct_research.datasets.arrays import BoolArray, FloatArray
from lungct_research.datasets.densities import AIRWAY_LUMEN_HU, AIRWAY_WALL_HU
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.anatomy import Anatomy, Regions
from lungct_research.synthesis.phantom.body import Body
from lungct_research.synthesis.phantom.fields import Grid, RandomField, bounding_box, inside
from lungct_research.synthesis.phantom.mediastinum import WINDPIPE_GENERATIONS
from lungct_research.synthesis.phantom.opacities import Opacity, OpacityPainter, draw_opacities
from lungct_research.synthesis.phantom.trees import Trees, plant
from lungct_research.synthesis.scanner import Kernel, scan_phantom

DEFAULT_SPACING_MM = (2.5, 1.4, 1.4)
FIELD_OF_VIEW_MM = (320.0, 358.4, 358.4)
CENTRE_Y_MM = 10.0


@dataclass(frozen=True, eq=False)
class Phantom:
    """A CT volume and the truth about it; arrays are ``[slices, rows, columns]``, axes S, P, L.

    Slice 0 is the most caudal, row 0 the most anterior, column 0 the patient's rightmost.

    Attributes:
        volume_hu: int16, Hounsfield units.
        lobes: uint8, ``Lobe.label`` 1 to 5; a lobe holds its vessels, airways and opacities, but neither
            trachea nor main bronchi.
        opacity: uint8, 1 in opacities; always inside a lobe.
        vessels: uint8, 1 in vessels inside the lungs.
        generations: int8, 0 in the lumen of the trachea, 1 of main, 2 of lobar, 3 of segmental bronchi and so
            on; -1 elsewhere.
        spacing_mm: distance between voxel centres along (slices, rows, columns).
    """

    volume_hu: npt.NDArray[np.int16]
    lobes: MaskArray
    opacity: MaskArray
    vessels: MaskArray
    generations: npt.NDArray[np.int8]
    spacing_mm: tuple[float, float, float]

    @cached_property
    def airways(self) -> MaskArray:
        """Return 1 in the lumen of trachea and bronchi, 0 elsewhere."""
        return (self.generations >= 0).astype(np.uint8)

    @property
    def voxel_ml(self) -> float:
        """Return the volume of one voxel in millilitres."""
        return float(np.prod(self.spacing_mm)) / 1000

    @cached_property
    def lobe_ml(self) -> dict[Lobe, float]:
        """Return the true volume of each lobe in millilitres."""
        return self._count_ml(self.lobes)

    @cached_property
    def opacity_ml(self) -> dict[Lobe, float]:
        """Return the true volume of the opacities in each lobe in millilitres."""
        return self._count_ml(self.lobes * self.opacity)

    def _count_ml(self, labels: MaskArray) -> dict[Lobe, float]:
        counts = np.bincount(labels.ravel(), minlength=len(Lobe) + 1)
        return {lobe: float(counts[lobe.label]) * self.voxel_ml for lobe in Lobe}


def make_thorax(
    seed: int,
    spacing_mm: tuple[float, float, float] = DEFAULT_SPACING_MM,
    shape: tuple[int, int, int] | None = None,
    opacities: Sequence[Opacity] = (),
    disease: Disease = Disease.NO_INFECTION,
    *,
    noise_hu: float | None = None,
    kernel: Kernel = "standard",
) -> Phantom:
    """Draw the thorax of one seed.

    Args:
        seed: decides the anatomy, the places of the opacities and the noise.
        spacing_mm: along (slices, rows, columns).
        shape: voxels; by default 320 mm cranio-caudal, more where the lungs need it, by 358 mm square.
        opacities: placed first, in this order.
        disease: draws further opacities.
        noise_hu: standard deviation at the heart's level; drawn where None, 0 for none.
        kernel: how the scanner renders edges and noise.

    Raises:
        ValueError: an opacity does not fit into its lobe.
    """
    anatomy = Anatomy(np.random.default_rng([seed, 0]))
    grid = _grid(anatomy, spacing_mm, shape)
    regions = anatomy.evaluate(grid)
    opacities = (*opacities, *draw_opacities(disease, anatomy, np.random.default_rng([seed, 1])))
    body = Body(anatomy, np.random.default_rng([seed, 2]))
    box = bounding_box(regions.lobes > 0)
    volume = body.paint(grid, regions)
    opacity, vessels = (np.zeros(grid.shape, np.uint8) for _ in range(2))
    opacity[box], trees = _paint_lungs(
        seed, anatomy, grid.crop(box), regions.crop(box), opacities, volume[box], body.blood_hu
    )
    vessels[box] = trees.vessels > 0.5
    generations = _windpipe_generations(anatomy, grid, regions.lobes)
    np.copyto(generations[box], trees.generations, where=generations[box] < 0)
    volume_hu = scan_phantom(volume, spacing_mm, kernel, noise_hu, np.random.default_rng([seed, 6]))
    return Phantom(volume_hu, regions.lobes, opacity, vessels, generations, spacing_mm)


def _paint_lungs(
    seed: int,
    anatomy: Anatomy,
    grid: Grid,
    regions: Regions,
    opacities: Sequence[Opacity],
    volume: FloatArray,
    blood_hu: float,
) -> tuple[BoolArray, Trees]:
    """Paint parenchyma, opacities, vessels and airways into ``volume``; return opacities and trees."""
    lungs = _parenchyma_hu(anatomy, grid, regions, np.random.default_rng([seed, 3]))
    np.copyto(volume, lungs, where=regions.lobes > 0)
    painter = OpacityPainter(anatomy, grid, regions, volume)
    for index, opacity in enumerate(opacities):
        painter.place(opacity, np.random.default_rng([seed, 4, index]))
    trees = plant(anatomy, grid, regions.lobes, np.random.default_rng([seed, 5]))
    densities = (blood_hu, AIRWAY_WALL_HU, AIRWAY_LUMEN_HU)
    for share, density in zip((trees.vessels, trees.walls, trees.lumen), densities, strict=True):
        volume += share * (np.float32(density) - volume)
    return painter.mask, trees


def _parenchyma_hu(anatomy: Anatomy, grid: Grid, regions: Regions, rng: np.random.Generator) -> FloatArray:
    """Return lung without vessels: denser behind and below, with fissures, emphysema and atelectasis."""
    z, y, _ = grid.open
    coarse, fine, lobules = (RandomField(rng, knot).on(grid) for knot in (32.0, 12.0, 4.5))
    mean, gradient = float(rng.uniform(-890, -835)), float(rng.uniform(12, 40))
    lungs = mean + gradient * (y / 80 - 0.3 * z / 100) + 9 * coarse + 9 * fine + 13 * lobules
    if rng.random() < 0.2:
        lungs = lungs - float(rng.uniform(20, 70)) * np.clip(coarse - 0.5, 0, 1.2)
    thickness = max(0.8, 0.55 * grid.step_mm[0])
    sheet = np.exp(-((regions.fissure_mm / thickness) ** 2)) * np.float32(0.9 / thickness)
    lungs = lungs + anatomy.habitus.fissure_hu * sheet * np.clip(1.2 + 0.7 * coarse, 0, 1.3)
    dependent = float(rng.uniform(0, 1)) ** 2 * 420
    behind = np.clip((y - 25) / 40, 0, 1) * np.clip((40 - z) / 80, 0, 1)
    collapse = behind * np.exp(-np.clip(regions.pleura_mm, 0, None) / 3.5) * np.clip(0.6 + 0.6 * fine, 0, 2)
    return np.asarray(lungs + dependent * collapse, np.float32)


def _windpipe_generations(anatomy: Anatomy, grid: Grid, lobes: MaskArray) -> npt.NDArray[np.int8]:
    """Return the generations of airways outside the lobes; where tubes meet, the oldest."""
    generations = np.full(grid.shape, -1, np.int8)
    for tube, generation in reversed([*zip(anatomy.mediastinum.windpipe, WINDPIPE_GENERATIONS, strict=True)]):
        generations[inside(grid, tube) & (lobes == 0)] = generation
    return generations


def _grid(
    anatomy: Anatomy, spacing_mm: tuple[float, float, float], shape: tuple[int, int, int] | None
) -> Grid:
    """Return the canonical grid of the asked physical spacing, centred on the lungs."""
    occupied = np.nonzero(anatomy.coarse_regions.lobes.any(axis=(1, 2)))[0]
    low, high = (float(anatomy.coarse.z_mm[index]) for index in occupied[[0, -1]])
    if shape is None:
        height = max(FIELD_OF_VIEW_MM[0], (high - low) * anatomy.scale + 24)
        sizes = [round(v / step) for v, step in zip((height, *FIELD_OF_VIEW_MM[1:]), spacing_mm, strict=True)]
        shape = (sizes[0], sizes[1], sizes[2])
    z, y, x = (step / anatomy.scale for step in spacing_mm)
    return Grid.centred(((low + high) / 2, CENTRE_Y_MM, 0.0), (z, y, x), shape)


def known_volumes(phantom: Phantom, seed: int) -> dict[str, Any]:
    """Return what is known of the phantom, as plain values; volumes in millilitres."""
    lobes = {
        lobe.value: {
            "lung_ml": round(phantom.lobe_ml[lobe], 3),
            "opacity_ml": round(phantom.opacity_ml[lobe], 3),
        }
        for lobe in Lobe
    }
    return {"seed": seed, "spacing_mm": list(phantom.spacing_mm), "lobes": lobes}
