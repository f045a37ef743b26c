"""Vessels and bronchi of the lungs: trees that reach every part of a lobe and taper on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

from lungct.records import LEFT_LOBES, Lobe
from lungct_research.datasets.arrays import BoolArray, FloatArray
from lungct_research.synthesis.phantom.anatomy import Anatomy
from lungct_research.synthesis.phantom.fields import Capsule, Grid
from lungct_research.synthesis.phantom.mediastinum import HILA, LOBAR, VEIN_ROOTS

Points = npt.NDArray[np.float64]

ML_PER_TIP = 2.2
TIP_RADIUS_MM = 0.48
MURRAY_EXPONENT = 2.75
TIP_DEPTH_MM = 4.0
STRAIGHT_TIPS = 3
THICK_VOXELS = 1.3

BRONCHUS_MIN_TIPS = 14
BRONCHUS_ASIDE = np.array([0.55, 0.83, 0.0])
LUMEN_SHARE = 0.85
WALL_SHARE = (0.3, 0.55)
FLARE = 1.2
HILUM_REACH_MM = 30.0
"""Calibre of bronchi beside arteries; own decision. The lumen, a part of the artery's calibre, is 4 to 6 mm
wide in segmental bronchi and 2 mm in the smallest; the wall, a part of the lumen's radius, is 0.12 to 0.18 of
the outer diameter. Beyond the hilum a bronchus ends where it leaves the lung."""


@dataclass(frozen=True, eq=False)
class Branch:
    """One stretch of a vessel.

    Attributes:
        start, end: canonical (z, y, x).
        tips: number of tips it feeds; radii follow from it.
        tips_before: number of tips that the branch before it feeds.
        forks: number of forks between the root and this branch.
    """

    start: Points
    end: Points
    tips: int
    tips_before: int
    forks: int

    def capsule(self, calibre: float) -> Capsule:
        """Return the tube of the vessel."""
        first, last = (
            calibre * TIP_RADIUS_MM * n ** (1 / MURRAY_EXPONENT)
            for n in (min(self.tips_before, 1.6 * self.tips), self.tips)
        )
        return _capsule(self.start, self.end, first, last)


def _capsule(start: Points, end: Points, first: float, last: float) -> Capsule:
    (a, b, c), (d, e, f) = start.tolist(), end.tolist()
    return Capsule((a, b, c), (d, e, f), first, last)


def grow(root: Points, tips: Points, rng: np.random.Generator) -> list[Branch]:
    """Grow a tree from ``root`` (z, y, x) to every point of ``tips`` ``[n, 3]`` by halving the points."""
    branches: list[Branch] = []
    waiting = [(root, tips, len(tips), 0)]
    while waiting:
        start, points, before, forks = waiting.pop()
        count = len(points)
        if count == 1:
            branches.append(Branch(start, points[0], 1, before, forks))
            continue
        centre = points.mean(axis=0)
        reach = float(rng.uniform(0.38, 0.58))
        end = start + reach * (centre - start)
        if count > STRAIGHT_TIPS:
            middle = (start + end) / 2 + rng.normal(0, 0.06, 3) * np.linalg.norm(end - start)
            branches.append(Branch(start, middle, count, before, forks))
            branches.append(Branch(middle, end, count, count, forks))
        else:
            branches.append(Branch(start, end, count, before, forks))
        waiting.extend((end, half, count, forks + 1) for half in _halve(points - centre, points, rng))
    return branches


def _halve(off: Points, points: Points, rng: np.random.Generator) -> tuple[Points, Points]:
    """Cut the points across the direction of their widest spread, ``off`` being relative to their centre."""
    count = len(points)
    axis = off[1] - off[0] if count < 4 else np.linalg.eigh(off.T @ off)[1][:, -1]
    order = np.argsort(off @ axis)
    cut = min(max(round(count * float(rng.uniform(0.3, 0.7))), 1), count - 1)
    return points[order[:cut]], points[order[cut:]]


@dataclass(frozen=True, eq=False)
class Trees:
    """Vessels and bronchi on a grid, ``[slices, rows, columns]``.

    Attributes:
        vessels, lumen, walls: share of each voxel that they fill, float32, 0 to 1; bronchi begin outside the
            lung.
        generations: int8, generation of the bronchus whose lumen fills most of the voxel; -1 elsewhere.
    """

    vessels: FloatArray
    lumen: FloatArray
    walls: FloatArray
    generations: npt.NDArray[np.int8]


def plant(anatomy: Anatomy, grid: Grid, lobes: npt.NDArray[np.uint8], rng: np.random.Generator) -> Trees:
    """Draw arteries with their bronchi, and veins, into the lobes of ``grid``."""
    vessels, lumen, walls = (np.zeros(grid.shape, np.float32) for _ in range(3))
    trees = Trees(vessels, lumen, walls, np.full(grid.shape, -1, np.int8))
    calibre, wall_share = float(rng.uniform(0.85, 1.2)), float(rng.uniform(*WALL_SHARE))
    bronchi: list[tuple[int, Capsule]] = []
    for lobe in Lobe:
        spots = _tips(anatomy, lobe, rng)
        half = len(spots) // 2
        arteries = grow(np.array(HILA[lobe]), spots[:half], rng)
        veins = grow(np.array(VEIN_ROOTS[lobe]), spots[half:], rng)
        trunk = min(half, len(spots) - half)
        is_left = (lobes > 0) & (lobes <= Lobe.LEFT_LOWER.label)
        same_side = is_left if lobe in LEFT_LOBES else lobes > Lobe.LEFT_LOWER.label
        own = lobes == lobe.label
        for where, tips in ((same_side, range(trunk, 2 * half + 2)), (own, range(trunk))):
            tubes = [branch.capsule(calibre) for branch in (*arteries, *veins) if branch.tips in tips]
            cover(trees.vessels, grid, tubes, where)
        bronchi.extend(_bronchi(anatomy, arteries, calibre, wall_share))
    _draw_bronchi(trees, grid, bronchi, wall_share, anatomy.mediastinum.windpipe[-len(HILA) :])
    np.minimum(trees.vessels, 1 - trees.lumen - trees.walls, out=trees.vessels)
    return trees


def _draw_bronchi(
    trees: Trees,
    grid: Grid,
    bronchi: list[tuple[int, Capsule]],
    wall_share: float,
    lobar: tuple[Capsule, ...],
) -> None:
    """Draw lumina and walls; where bronchi meet, the voxel belongs to the older generation."""
    everywhere = np.broadcast_to(np.True_, grid.shape)
    wider = 1 + wall_share
    walls = [
        replace(lumen, start_radius=wider * lumen.start_radius, end_radius=wider * lumen.end_radius)
        for _, lumen in bronchi
    ]
    cover(trees.walls, grid, walls, everywhere)
    lumina = [*((LOBAR, lumen) for lumen in lobar), *bronchi]
    for generation in sorted({generation for generation, _ in lumina}):
        cover(trees.lumen, grid, [lumen for of, lumen in lumina if of == generation], everywhere)
        trees.generations[(trees.lumen > 0.5) & (trees.generations < 0)] = generation
    np.minimum(trees.walls, 1 - trees.lumen, out=trees.walls)


def _tips(anatomy: Anatomy, lobe: Lobe, rng: np.random.Generator) -> Points:
    """Draw points of the lobe, away from its surface, for two trees."""
    regions, grid = anatomy.coarse_regions, anatomy.coarse
    deep = (regions.lobes == lobe.label) & (np.minimum(regions.depth_mm, regions.fissure_mm) > TIP_DEPTH_MM)
    index = np.argwhere(deep)
    litres = len(index) * float(np.prod(grid.step_mm)) / 1e6
    count = max(round(2 * 1000 * litres / ML_PER_TIP), 8)
    chosen = index[rng.choice(len(index), min(count, len(index)), replace=False)]
    spots = np.stack([axis[chosen[:, k]] for k, axis in enumerate(grid.axes_mm)], axis=1)
    return np.asarray(spots + rng.uniform(-2, 2, spots.shape), np.float64)


def _bronchi(
    anatomy: Anatomy, arteries: list[Branch], calibre: float, wall_share: float
) -> Iterator[tuple[int, Capsule]]:
    """Yield generation and lumen of bronchi beside the arteries, towards the head and the back.

    They spring from the end of the lobar bronchus, where the arteries do, and join without gaps.
    """
    root = arteries[0].start
    reached = {tuple(root): (root, anatomy.mediastinum.windpipe[-1].end_radius)}
    for artery in arteries:
        if artery.tips < BRONCHUS_MIN_TIPS or tuple(artery.start) not in reached:
            continue
        is_hilar = np.linalg.norm(artery.end - root) < HILUM_REACH_MM
        if not (is_hilar or _is_lung(anatomy, artery.end)):
            continue
        start, start_radius = reached[tuple(artery.start)]
        vessel_radius = artery.capsule(calibre).end_radius
        radius = LUMEN_SHARE * vessel_radius
        end = artery.end + (vessel_radius + (1 + wall_share) * radius) * BRONCHUS_ASIDE
        reached[tuple(artery.end)] = end, radius
        yield LOBAR + artery.forks, _capsule(start, end, min(start_radius, FLARE * radius), radius)


def _is_lung(anatomy: Anatomy, point: Points) -> bool:
    """Return whether the anatomy, seen coarsely and so alike on every grid, has lung there."""
    place = [np.abs(axis - at).argmin() for axis, at in zip(anatomy.coarse.axes_mm, point, strict=True)]
    return bool(anatomy.coarse_regions.lobes[tuple(place)])


def cover(share: FloatArray, grid: Grid, tubes: list[Capsule], where: BoolArray) -> None:
    """Raise ``share`` to the part of each voxel that tubes fill, a step blurred over one voxel."""
    voxel_mm = float(np.cbrt(np.prod(grid.step_mm)))
    limits = [0.0, 0.45 * voxel_mm, 0.8 * voxel_mm, THICK_VOXELS * voxel_mm]
    widths = [max(tube.start_radius, tube.end_radius) for tube in tubes]
    for low, high in pairwise(limits):
        thin = [tube for tube, width in zip(tubes, widths, strict=True) if low < width <= high]
        if thin:
            _cover_thin(share, grid, thin, where, voxel_mm)
    for tube in (tube for tube, width in zip(tubes, widths, strict=True) if width > limits[-1]):
        box = grid.box(*tube.bounds(voxel_mm / 2))
        if share[box].size:
            filled = np.clip(0.5 - tube.distance(grid.crop(box)) / np.float32(voxel_mm), 0, 1) * where[box]
            np.maximum(share[box], filled, out=share[box])


def _cover_thin(
    share: FloatArray, grid: Grid, tubes: list[Capsule], where: BoolArray, voxel_mm: float
) -> None:
    """Cover with tubes hardly wider than a voxel, all at once, as rows of balls."""
    points, radii = _balls(tubes, 0.45 * min(grid.step_mm))
    origin = np.array([axis[0] for axis in grid.axes_mm])
    place = (points - origin) / grid.step_mm
    nearest = np.rint(place).astype(np.intp)
    off_mm = ((place - nearest) * grid.step_mm).astype(np.float32)
    faint = np.minimum(1, (2 * radii / voxel_mm) ** 1.2)
    reach = [int(np.ceil((radii.max() + voxel_mm / 2) / step - 0.5)) for step in grid.step_mm]
    for shift in product(*(range(-n, n + 1) for n in reach)):
        away = off_mm - np.multiply(shift, grid.step_mm).astype(np.float32)
        filled = 0.5 + (radii - np.sqrt(np.einsum("ij,ij->i", away, away))) / np.float32(voxel_mm)
        voxel = nearest + shift
        seen = (filled > 0) & (voxel >= 0).all(axis=1) & (voxel < grid.shape).all(axis=1)
        z, y, x = voxel[seen].T
        amount = np.minimum(filled[seen], 1) * faint[seen] * where[z, y, x]
        np.maximum.at(share.reshape(-1), np.ravel_multi_index((z, y, x), grid.shape), amount)


def _balls(tubes: list[Capsule], pace_mm: float) -> tuple[Points, FloatArray]:
    """Return centres ``[n, 3]`` and radii of balls along the tubes, ``pace_mm`` apart at most."""
    starts, ends = np.array([tube.start for tube in tubes]), np.array([tube.end for tube in tubes])
    counts = np.ceil(np.linalg.norm(ends - starts, axis=1) / pace_mm).astype(np.intp) + 1
    tube = np.repeat(np.arange(len(tubes)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    along = (np.arange(len(tube)) - first) / np.maximum(counts[tube] - 1, 1)
    points = starts[tube] + along[:, None] * (ends - starts)[tube]
    radii = np.array([(t.start_radius, t.end_radius) for t in tubes])[tube]
    return points, (radii[:, 0] + along * (radii[:, 1] - radii[:, 0])).astype(np.float32)
