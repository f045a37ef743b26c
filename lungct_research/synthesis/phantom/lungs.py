"""What the lungs look like: parenchyma, fissures, opacities, vessels and airways, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lungct_research.datasets.arrays import BoolArray, FloatArray
from lungct_research.datasets.densities import AIRWAY_LUMEN_HU, AIRWAY_WALL_HU
from lungct_research.synthesis.phantom.anatomy import Anatomy, Regions
from lungct_research.synthesis.phantom.fields import Grid, RandomField
from lungct_research.synthesis.phantom.opacities import Opacity, OpacityPainter
from lungct_research.synthesis.phantom.trees import plant


@dataclass(frozen=True, eq=False)
class Lungs:
    """The painted lungs; ``[slices, rows, columns]``.

    Attributes:
        hu: float32 Hounsfield units; outside the lobes what was there, with the bronchi of the hila.
        opacity, vessels: masks, inside the lobes only.
        generations: int8, generation of the bronchus in whose lumen a voxel lies, -1 elsewhere.
    """

    hu: FloatArray
    opacity: BoolArray
    vessels: BoolArray
    generations: npt.NDArray[np.int8]


def paint_lungs(
    seed: int,
    anatomy: Anatomy,
    grid: Grid,
    regions: Regions,
    opacities: Sequence[Opacity],
    *,
    around_hu: FloatArray,
    blood_hu: float,
) -> Lungs:
    """Paint the lungs on a canonical grid around them, into what ``around_hu`` shows there.

    Raises:
        ValueError: an opacity does not fit into its lobe.
    """
    hu = _parenchyma_hu(anatomy, grid, regions, np.random.default_rng([seed, 3]))
    np.copyto(hu, around_hu, where=regions.lobes == 0)
    painter = OpacityPainter(anatomy, grid, regions, hu)
    for index, opacity in enumerate(opacities):
        painter.place(opacity, np.random.default_rng([seed, 4, index]))
    trees = plant(anatomy, grid, regions.lobes, np.random.default_rng([seed, 5]))
    densities = (blood_hu, AIRWAY_WALL_HU, AIRWAY_LUMEN_HU)
    for share, density in zip((trees.vessels, trees.walls, trees.lumen), densities, strict=True):
        hu += share * (np.float32(density) - hu)
    return Lungs(hu, painter.mask, trees.vessels > 0.5, trees.generations)


def _parenchyma_hu(anatomy: Anatomy, grid: Grid, regions: Regions, rng: np.random.Generator) -> FloatArray:
    """Lung without vessels: denser behind and below, with lobules, fissures, emphysema, atelectasis."""
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
