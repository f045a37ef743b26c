"""The lungs, their lobes and what bounds them, as functions of space drawn once per seed.

A body is drawn in canonical millimetres and scaled as a whole, so that its lungs hold the wanted volume:
``canonical = physical / scale``. The apices lie near z = 125, the diaphragm's domes near z = -65; x and y
are 0 in the middle of the chest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lungct.records import Lobe, MaskArray
from lungct_research.datasets.arrays import BoolArray, FloatArray
from lungct_research.synthesis.phantom.fields import Box, Grid, RandomField, bounding_box, nowhere, stamp
from lungct_research.synthesis.phantom.mediastinum import Mediastinum, draw_mediastinum

Surfaces = tuple[FloatArray, FloatArray, FloatArray, FloatArray]

COARSE_STEP_MM = 4.0
APEX_X_MM = 41.0
CENTRE_X_SHARE = 0.42
RIB_PITCH_MM = 21.5
LUNG_LITRES = (3.5, 7.0)
HILUM_GAP_MM = 3.0
RIGHTWARD_MM = 3.0


class Habitus:
    """Proportions of one person, in canonical mm, HU and shares.

    They lie near anatomy: left upper lobe 24 %, right middle lobe 9 % of both lungs, and so on.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw the proportions."""

        def between(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        self.half_width = between(121, 137)
        self.half_depth = between(74, 92)
        self.height = between(235, 275)
        self.squareness = between(2.0, 2.4)
        self.apex_z = between(120, 128)
        self.dome_drop = between(0.74, 0.8), between(0.69, 0.75)
        self.recess = between(45, 62), between(48, 72), between(28, 42)
        self.oblique_slope = between(0.95, 1.45), between(0.95, 1.45)
        self.oblique_bend = between(-10, 16), between(-10, 16)
        self.horizontal_slope = between(-0.05, 0.3)
        self.upper_share = between(0.47, 0.56), between(0.3, 0.38)
        self.middle_share = between(0.14, 0.2)
        self.fissure_hu = between(60, 170)
        self.lung_litres = between(*LUNG_LITRES)
        self.fat_mm = float(rng.gamma(4.0, 4.0)) + 4.0
        self.breasts = between(0.7, 1.3) if rng.random() < 0.45 else 0.0
        self.phases = tuple(float(phase) for phase in rng.uniform(0, 2 * np.pi, 12))


@dataclass(frozen=True, eq=False)
class Regions:
    """The anatomy sampled on a grid; float32 ``[slices, rows, columns]`` where not said otherwise.

    Attributes:
        wall_mm: signed distance to the inner chest wall, negative inside the thoracic cage.
        dome_z_mm: ``[rows, columns]``, height of the diaphragm.
        pleura_mm: depth below chest wall and diaphragm, positive in the lungs.
        depth_mm: depth below the whole lung surface, positive in the lungs.
        fissure_mm: distance to the nearest fissure.
        lobes: uint8, label of the lobe, 0 outside the lungs.
    """

    wall_mm: FloatArray
    dome_z_mm: FloatArray
    pleura_mm: FloatArray
    depth_mm: FloatArray
    fissure_mm: FloatArray
    lobes: MaskArray

    def crop(self, box: Box) -> Regions:
        """Return views of a box of the regions."""
        fields = (self.wall_mm, self.pleura_mm, self.depth_mm, self.fissure_mm)
        wall, pleura, depth, fissure = (field[box] for field in fields)
        return Regions(wall, self.dome_z_mm[box[1:]], pleura, depth, fissure, self.lobes[box])


class Anatomy:
    """One person's thorax; ``evaluate`` samples it on any canonical grid.

    Attributes:
        scale: physical mm per canonical mm.
        coarse: a 4 mm canonical grid of the lungs, the same for every spacing asked for.
        coarse_regions: the anatomy on ``coarse``.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw the person; the fissures are placed so that the lobes have the drawn shares."""
        self.habitus = Habitus(rng)
        self.mediastinum: Mediastinum = draw_mediastinum(rng)
        self._bumps = RandomField(rng, 45.0)
        self._fissure_bumps = RandomField(rng, 38.0)
        self._fissure_z = (0.0, 0.0, 0.0)
        self.coarse = Grid.centred((-15, 0, 0), (COARSE_STEP_MM,) * 3, (78, 54, 78))
        surfaces = self._lungs(self.coarse)
        self._fissure_z = self._place_fissures(surfaces[-1] > 0)
        self.coarse_regions = self._divide(self.coarse, surfaces)
        lung_litres = np.count_nonzero(self.coarse_regions.lobes) * (COARSE_STEP_MM / 100) ** 3
        self.scale = float(np.cbrt(self.habitus.lung_litres / lung_litres))

    def lobe_ml(self, lobe: Lobe) -> float:
        """Return the volume of a lobe as the coarse grid sees it, in physical millilitres."""
        voxels = int(np.count_nonzero(self.coarse_regions.lobes == lobe.label))
        return voxels * (COARSE_STEP_MM * self.scale) ** 3 / 1000

    def evaluate(self, grid: Grid) -> Regions:
        """Sample the anatomy on a canonical grid."""
        return self._divide(grid, self._lungs(grid))

    def _divide(self, grid: Grid, surfaces: Surfaces) -> Regions:
        wall, dome, pleura, depth = surfaces
        lobes, fissure = np.zeros(grid.shape, np.uint8), nowhere(grid)
        box = bounding_box(depth > 0)
        lobes[box], fissure[box] = self._lobes(grid.crop(box), depth[box] > 0)
        return Regions(wall, dome, pleura, depth, fissure, lobes)

    def _lungs(self, grid: Grid) -> Surfaces:
        bumps = self._bumps.on(grid)
        wall = self.wall_mm(grid) + 1.2 * bumps
        dome = self._dome_z_mm(grid)
        pleura = np.minimum(-wall, 0.8 * (grid.open[0] - dome - 2.5 * bumps))
        depth = np.minimum(pleura, self._mediastinum_mm(grid) - 1.5 * bumps)
        return wall, dome, pleura, depth

    def wall_mm(self, grid: Grid) -> FloatArray:
        """Return the approximate signed distance to a smooth inner chest wall."""
        h = self.habitus
        z, y, x = grid.open
        fall = np.clip((h.apex_z - z) / h.height, 0, None)
        wide = np.maximum(1 - (1 - np.minimum(fall / 0.7, 1)) ** 2.2, 0.0005) ** 0.56
        deep = np.maximum(1 - (1 - np.minimum(fall / 0.62, 1)) ** 2.1, 0.0005) ** 0.62
        centre = APEX_X_MM + (CENTRE_X_SHARE * h.half_width - APEX_X_MM) * wide
        outer = (h.half_width - APEX_X_MM) * wide + APEX_X_MM - centre
        inner = 27 * (1 - wide) + 1.8 * centre * wide
        off = np.abs(x + RIGHTWARD_MM) - centre
        across = np.where(off > 0, off / np.maximum(outer, 1), -off / np.maximum(inner, 1))
        along = (y - 24 * (1 - np.minimum(fall / 0.7, 1)) ** 1.4) / (h.half_depth * deep)
        level = np.abs(across) ** h.squareness + np.abs(along) ** h.squareness
        radius = np.minimum(np.maximum(outer, 1), h.half_depth * deep)
        beyond = np.clip(z - h.apex_z + 2, 0, None)
        distance = (level ** (1 / h.squareness) - 1) * radius
        # between the ribs the pleura bulges by about a millimetre
        ripple = np.asarray(1.1 * np.cos(2 * np.pi * self.rib_number(grid)), np.float32)
        return np.asarray(distance + beyond + ripple, np.float32)

    def rib_number(self, grid: Grid) -> FloatArray:
        """Return the number of the rib, 0.5 at the middle of the first; ``[slices, rows, 1]``."""
        h = self.habitus
        ahead = np.clip((h.half_depth + 8 - grid.open[1]) / (2 * h.half_depth), 0, None)
        return np.asarray((h.apex_z + 18 - grid.open[0] - 85 * ahead**1.15) / RIB_PITCH_MM, np.float32)

    def _dome_z_mm(self, grid: Grid) -> FloatArray:
        h = self.habitus
        y, x = grid.y_mm[:, None], grid.x_mm[None, :]
        left, right = (h.apex_z - drop * h.height for drop in h.dome_drop)
        blend = 1 / (1 + np.exp(-x / 9))
        top = right + (left - right) * blend
        off = (np.abs(x) - 0.5 * h.half_width) / (0.5 * h.half_width)
        lateral, posterior, anterior = h.recess
        fall = np.where(off > 0, lateral * np.abs(off) ** 1.9, 17 * np.abs(off) ** 2)
        along = (y + 12) / h.half_depth
        fall = fall + np.where(along > 0, posterior, anterior) * np.abs(along) ** 2
        one, two = h.phases[0], h.phases[1]
        ripple = 2.5 * np.sin(x / 26 + one) * np.cos(y / 30 + two)
        return np.asarray(top - fall + ripple, np.float32)

    def _mediastinum_mm(self, grid: Grid) -> FloatArray:
        """Return the signed distance to mediastinum and spine, positive outside."""
        far = grid.box((-1e3, -1e3, -105), (1e3, 1e3, 105))
        part = grid.crop(far)
        distance = nowhere(part)
        organs = self.mediastinum
        for shape in (*organs.heart, *organs.blood, *organs.soft):
            stamp(distance, part, shape, HILUM_GAP_MM)
        for tube in organs.windpipe:
            stamp(distance, part, tube, HILUM_GAP_MM + 1.5)
        np.minimum(distance, self._slab_mm(part), out=distance)
        whole = nowhere(grid)
        whole[far] = distance
        return whole

    def _slab_mm(self, grid: Grid) -> FloatArray:
        h = self.habitus
        z, y, x = grid.open
        upper = np.clip((z - 25) / 60, 0, 1.3)
        middle = np.exp(-(((y - 4) / 36) ** 2))
        low = np.clip((-z - 20) / 50, 0, 1)
        half = 6 + (17 + 8 * upper) * middle + 14 * low * np.exp(-(((y + 0.8 * h.half_depth) / 26) ** 2))
        spine = np.hypot(x / 21, (y - self.spine_y_mm(z) - 4) / 22) - 1
        behind = np.maximum(np.abs(x) - 19, self.spine_y_mm(z) - y)
        return np.asarray(np.minimum(np.minimum(np.abs(x - 2) - half, 21 * spine), behind), np.float32)

    def spine_y_mm(self, z_mm: FloatArray) -> FloatArray:
        """Return the row coordinate of the centres of the vertebral bodies: the thoracic kyphosis."""
        return np.asarray(self.habitus.half_depth - 19 - ((z_mm - 10) / 130) ** 2 * 14, np.float32)

    def _oblique_mm(self, grid: Grid, side: int) -> FloatArray:
        """Return the height above an oblique fissure before it is placed; ``side`` 0 is left."""
        h = self.habitus
        z, y, x = grid.open
        slope, bend = h.oblique_slope[side], h.oblique_bend[side]
        out = (np.abs(x) - 60) / 60
        curve = bend * out**2 - 8 * out + 0.0008 * bend * y * np.abs(y)
        return np.asarray((z - slope * y - curve) / np.sqrt(1 + slope**2), np.float32)

    def _horizontal_mm(self, grid: Grid) -> FloatArray:
        z, y, x = grid.open
        return np.asarray(
            z - self.habitus.horizontal_slope * y + 5 * ((np.abs(x) - 60) / 60) ** 2, np.float32
        )

    def _place_fissures(self, lungs: BoolArray) -> tuple[float, float, float]:
        """Return the heights of left oblique, right oblique and horizontal fissure for the drawn shares."""
        h, grid = self.habitus, self.coarse
        bumps = 3.0 * self._fissure_bumps.on(grid)
        left = lungs & (grid.open[2] > 0)
        right = lungs & (grid.open[2] < 0)
        left_mm, right_mm = self._oblique_mm(grid, 0) + bumps, self._oblique_mm(grid, 1) + bumps
        left_z = float(np.quantile(left_mm[left], 1 - h.upper_share[0]))
        right_z = float(np.quantile(right_mm[right], 1 - h.upper_share[1] - h.middle_share))
        ahead = right & (right_mm > right_z)
        share = h.middle_share / (h.upper_share[1] + h.middle_share)
        return left_z, right_z, float(np.quantile((self._horizontal_mm(grid) + bumps)[ahead], share))

    def _lobes(self, grid: Grid, lungs: BoolArray) -> tuple[MaskArray, FloatArray]:
        lobes = np.zeros(grid.shape, np.uint8)
        fissure = nowhere(grid)
        bumps = 3.0 * self._fissure_bumps.on(grid)
        left_z, right_z, horizontal_z = self._fissure_z
        middle = int(np.searchsorted(grid.x_mm, 0.0))
        for side, half in ((0, np.s_[..., middle:]), (1, np.s_[..., :middle])):
            part = Grid(grid.z_mm, grid.y_mm, grid.x_mm[half])
            oblique = self._oblique_mm(part, side) + bumps[half] - (left_z, right_z)[side]
            if side == 0:
                lobes[half] = np.where(oblique > 0, Lobe.LEFT_UPPER.label, Lobe.LEFT_LOWER.label)
                fissure[half] = np.abs(oblique)
                continue
            horizontal = self._horizontal_mm(part) + bumps[half] - horizontal_z
            ahead = np.where(horizontal > 0, Lobe.RIGHT_UPPER.label, Lobe.RIGHT_MIDDLE.label)
            lobes[half] = np.where(oblique > 0, ahead, Lobe.RIGHT_LOWER.label)
            fissure[half] = np.where(oblique > 0, np.minimum(oblique, np.abs(horizontal)), -oblique)
        lobes *= lungs
        return lobes, fissure
