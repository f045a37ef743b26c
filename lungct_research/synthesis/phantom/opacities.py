"""Opacities of chosen kind, lobe and volume, and the diseases that draw sets of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lungct.records import LEFT_LOBES, RIGHT_LOBES, Lobe
from lungct_research.datasets.arrays import BoolArray, FloatArray
from lungct_research.datasets.densities import CONSOLIDATION_HU, GROUND_GLASS_HU
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.anatomy import Anatomy, Regions
from lungct_research.synthesis.phantom.fields import Box, Ellipsoid, Grid, Point, RandomField

OpacityKind = Literal["ground_glass", "consolidation", "crazy_paving", "reversed_halo", "band", "nodule"]

BORDER_MM = {"ground_glass": 3.0, "crazy_paving": 2.2, "reversed_halo": 1.6, "consolidation": 1.4}
FLATNESS = {"band": (0.14, 1.0, 0.8)}
ROUGHNESS = {"band": 0.25, "reversed_halo": 0.5}
PERIPHERAL_DEPTH_MM = (2.0, 14.0)
RING_SHARE = 0.42
LARGEST_ML = {"band": 18.0, "reversed_halo": 45.0}


@dataclass(frozen=True)
class Opacity:
    """One opacity to place.

    Attributes:
        volume_ml: physical volume.
        peripheral: hugs chest wall or diaphragm, more often posterior; else anywhere deeper in the lobe.
    """

    kind: OpacityKind
    lobe: Lobe
    volume_ml: float
    peripheral: bool = True

    def __post_init__(self) -> None:
        """Check kind and volume.

        Raises:
            ValueError: the kind is unknown, or the volume is not positive.
        """
        if self.kind not in get_args(OpacityKind):
            raise ValueError(f"kind is {self.kind!r}, must be one of {', '.join(get_args(OpacityKind))}")
        if self.volume_ml <= 0:
            raise ValueError(f"volume_ml is {self.volume_ml}: give a positive volume")


def draw_opacities(disease: Disease, anatomy: Anatomy, rng: np.random.Generator) -> tuple[Opacity, ...]:
    """Draw the opacities of a disease; none without infection."""
    if disease is Disease.COVID19:
        return _draw_covid(anatomy, rng)
    if disease is Disease.OTHER_INFECTION:
        return _draw_pneumonia(anatomy, rng)
    return ()


def _draw_covid(anatomy: Anatomy, rng: np.random.Generator) -> tuple[Opacity, ...]:
    """Draw bilateral, peripheral, mostly lower-lobe ground glass, with crazy paving, bands and rings."""
    kinds: list[OpacityKind] = ["ground_glass", "crazy_paving", "consolidation", "reversed_halo", "band"]
    burden = float(rng.uniform(0.02, 0.4)) ** 1.3
    leaning = {Lobe.LEFT_LOWER: 1.5, Lobe.RIGHT_LOWER: 1.6, Lobe.RIGHT_MIDDLE: 0.7}
    found = []
    for lobe in Lobe:
        share = min(burden * leaning.get(lobe, 1.0) * float(rng.gamma(2.0, 0.5)), 0.85)
        if share < 0.01:
            continue
        parts = rng.dirichlet(np.full(int(rng.integers(1, 5)), 1.6)) * share
        for part in parts[parts > 0.002]:
            kind = kinds[int(rng.choice(5, p=(0.55, 0.17, 0.12, 0.06, 0.1)))]
            ml = float(part) * anatomy.lobe_ml(lobe)
            ml = min(ml, LARGEST_ML.get(kind, 1e6))
            found.append(Opacity(kind, lobe, volume_ml=ml, peripheral=bool(rng.random() < 0.85)))
    return tuple(found) or (Opacity("ground_glass", Lobe.RIGHT_LOWER, volume_ml=15.0),)


def _draw_pneumonia(anatomy: Anatomy, rng: np.random.Generator) -> tuple[Opacity, ...]:
    """Draw consolidation with a halo of ground glass in one or two lobes, mostly of one side."""
    side = (LEFT_LOBES, RIGHT_LOBES)[int(rng.integers(2))]
    lobes = list(side) if rng.random() < 0.75 else list(Lobe)
    chosen = rng.choice(len(lobes), int(rng.integers(1, 3)), replace=False)
    found = []
    for index in chosen:
        lobe, peripheral = lobes[int(index)], bool(rng.random() < 0.5)
        ml = anatomy.lobe_ml(lobe)
        dense, halo = float(rng.uniform(0.06, 0.55)), float(rng.uniform(0.03, 0.2))
        found.append(Opacity("consolidation", lobe, volume_ml=dense * ml, peripheral=peripheral))
        found.append(Opacity("ground_glass", lobe, volume_ml=halo * ml, peripheral=peripheral))
        radii_mm = rng.uniform(2.5, 6, int(rng.integers(0, 4))).tolist()
        balls_ml = [4 / 3 * np.pi * radius**3 / 1000 for radius in radii_mm]
        found.extend(Opacity("nodule", lobe, volume_ml=ball_ml, peripheral=False) for ball_ml in balls_ml)
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Site:
    """Where an opacity goes: ``wanted`` voxels, ``free`` in ``box``, around ``centre`` (canonical mm)."""

    centre: Point
    radius: float
    box: Box
    free: BoolArray
    wanted: int


class OpacityPainter:
    """Places opacities one after another; a later one takes only voxels that no earlier one has.

    Attributes:
        mask: ``[slices, rows, columns]``, all opacities placed so far.
    """

    def __init__(self, anatomy: Anatomy, grid: Grid, regions: Regions, lungs_hu: FloatArray) -> None:
        """Take the parenchyma on ``grid``, which is changed in place."""
        self._anatomy, self._grid, self._regions, self._lungs_hu = anatomy, grid, regions, lungs_hu
        self.mask = np.zeros(grid.shape, np.bool_)

    def place(self, opacity: Opacity, rng: np.random.Generator) -> None:
        """Add one opacity of exactly the wanted volume (a nodule: to a few voxels).

        Raises:
            ValueError: the lobe has no room for it.
        """
        scale = self._anatomy.scale
        radius = float(np.cbrt(opacity.volume_ml * 750 / np.pi)) / scale
        centre = self._centre(opacity, radius, rng)
        voxel_ml = float(np.prod(self._grid.step_mm)) * scale**3 / 1000
        wanted = max(round(opacity.volume_ml / voxel_ml), 1)
        seed = int(rng.integers(2**32))
        for reach in (2.4 * radius + 8, 1e3):
            box = self._grid.box(np.array(centre) - reach, np.array(centre) + reach)
            free = (self._regions.lobes[box] == opacity.lobe.label) & ~self.mask[box]
            if np.count_nonzero(free) < wanted:
                continue
            site = _Site(centre, radius, box, free, wanted)
            rank = self._rank(opacity, site, np.random.default_rng(seed))
            chosen = rank <= 1
            touches_border = any(chosen.take((0, -1), axis=axis).any() for axis in range(3))
            if reach == 1e3 or not touches_border:
                self._paint(opacity, box, rank, rng)
                self.mask[box] |= chosen
                return
        room = np.count_nonzero(free) * voxel_ml
        raise ValueError(f"{opacity.volume_ml:.1f} ml asked for, {opacity.lobe} has {room:.1f} ml left")

    def _centre(self, opacity: Opacity, radius: float, rng: np.random.Generator) -> Point:
        regions, grid = self._anatomy.coarse_regions, self._anatomy.coarse
        lobe = regions.lobes == opacity.lobe.label
        inner = np.minimum(regions.depth_mm, regions.fissure_mm)
        if opacity.kind == "nodule":
            room = np.minimum(radius + 3.0, float(np.quantile(inner[lobe], 0.97)))
            fits = lobe & (inner >= room)
            if opacity.peripheral:
                fits &= regions.pleura_mm <= max(float(regions.pleura_mm[fits].min()) + 6, radius + 9)
        elif opacity.peripheral:
            low, high = PERIPHERAL_DEPTH_MM
            fits = lobe & (regions.pleura_mm > low) & (regions.pleura_mm < high)
        else:
            fits = lobe & (inner >= float(np.quantile(inner[lobe], 0.7)))
        spots = np.argwhere(fits)
        weight = np.exp(grid.y_mm[spots[:, 1]] / 55.0).astype(float)
        chosen = spots[int(rng.choice(len(spots), p=weight / weight.sum()))]
        z, y, x = (float(axis[i]) for axis, i in zip(grid.axes_mm, chosen, strict=True))
        return z, y, x

    def _rank(self, opacity: Opacity, site: _Site, rng: np.random.Generator) -> FloatArray:
        """Return the place of each voxel in the filling order: to 1 the opacity, infinite where not free."""
        part = self._grid.crop(site.box)
        turn, tilt = float(rng.uniform(0, 3)), float(rng.uniform(-0.6, 0.6))
        if opacity.kind == "nodule":
            high, deep = (float(v) for v in rng.uniform(0.88, 1.14, 2))
            z, y, x = (site.radius * stretch for stretch in (high, deep, 1 / (high * deep)))
            return np.where(site.free, Ellipsoid(site.centre, (z, y, x), turn).level(part), np.inf)
        stretches = FLATNESS.get(opacity.kind, tuple(rng.uniform(0.75, 1.3, 3).tolist()))
        z, y, x = (site.radius * stretch for stretch in stretches)
        score = Ellipsoid(site.centre, (z, y, x), turn, tilt).level(part)
        rough = RandomField(rng, float(np.clip(0.7 * site.radius, 11, 40))).on(part)
        fray = np.clip(0.24 * rough + 0.08 * RandomField(rng, 9.0).on(part), -0.7, 1.2)
        score *= 1 + np.float32(ROUGHNESS.get(opacity.kind, 1.0)) * fray
        if opacity.peripheral and opacity.kind not in ROUGHNESS:
            depth = np.clip(self._regions.pleura_mm[site.box], 0, None)
            score += np.float32(0.55 / max(site.radius, 8.0)) * depth
        level = np.partition(score[site.free], site.wanted - 1)[site.wanted - 1]
        return np.asarray(np.where(site.free, score / level, np.inf), np.float32)

    def _paint(self, opacity: Opacity, box: Box, rank: FloatArray, rng: np.random.Generator) -> None:
        part = self._grid.crop(box)
        border = BORDER_MM.get(opacity.kind, 0.7)
        weight = (rank <= 1).astype(np.float32)
        sigma = [border / self._anatomy.scale / step for step in part.step_mm]
        weight = ndimage.gaussian_filter(weight, sigma, truncate=2.5)
        weight *= self._regions.lobes[box] == opacity.lobe.label
        lungs = self._lungs_hu[box]
        target = np.maximum(self._target_hu(opacity.kind, part, rank, rng), lungs)
        lungs += weight * (target - lungs)

    def _target_hu(
        self, kind: OpacityKind, grid: Grid, rank: FloatArray, rng: np.random.Generator
    ) -> npt.NDArray[np.floating]:
        dense = float(rng.uniform(*CONSOLIDATION_HU)) + 14 * RandomField(rng, 8.0).on(grid)
        if kind in ("consolidation", "nodule"):
            return dense
        if kind == "band":
            return dense - 120
        haze = float(rng.uniform(*GROUND_GLASS_HU)) + 38 * RandomField(rng, 14.0).on(grid)
        if kind == "reversed_halo":
            return np.where(rank < 1 - RING_SHARE / 2, haze, dense - 60)
        if kind == "crazy_paving":
            lines = np.exp(-((RandomField(rng, 5.5).on(grid) / 0.22) ** 2))
            return haze + 190 * np.asarray(lines, np.float32)
        return haze
