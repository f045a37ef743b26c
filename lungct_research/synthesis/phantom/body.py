"""Everything around the lungs: body wall, bones, mediastinum, upper abdomen, table and room air."""

from __future__ import annotations

import numpy as np

from lungct_research.datasets.arrays import BoolArray, FloatArray
from lungct_research.datasets.densities import (
    AIR_HU,
    CARTILAGE_HU,
    CORTEX_HU,
    DISC_HU,
    FAT_HU,
    LIVER_HU,
    MARROW_HU,
    MUSCLE_HU,
    SOFT_HU,
    SPLEEN_HU,
    WATER_HU,
)
from lungct_research.synthesis.phantom.anatomy import RIB_PITCH_MM, Anatomy, Regions
from lungct_research.synthesis.phantom.fields import Capsule, Ellipsoid, Grid, RandomField, Shape, inside

N_RIBS = 12
RIB_DEPTH_MM = 6.5
ENHANCED_SHARE = 0.33
BLOOD_HU, ENHANCED_BLOOD_HU = (34, 48), (140, 330)
ORGAN_GAIN = 0.18
"""Part of the density of enhanced blood that liver and spleen gain; own decision, as the numbers above."""


class Body:
    """Paints one person's tissues outside the lungs into a canonical grid.

    Attributes:
        blood_hu: density of blood, like muscle without contrast medium.
    """

    def __init__(self, anatomy: Anatomy, rng: np.random.Generator) -> None:
        """Draw what ``anatomy`` leaves open: contrast, fat, abdominal organs, table."""
        self._anatomy = anatomy
        self._is_enhanced = rng.random() < ENHANCED_SHARE
        self.blood_hu = float(rng.uniform(*(ENHANCED_BLOOD_HU if self._is_enhanced else BLOOD_HU)))
        self._streaks = RandomField(rng, 11.0)
        self._lumps = RandomField(rng, 30.0)
        self._gas = tuple(float(v) for v in rng.uniform(-1, 1, 12))
        self._table_gap_mm = float(rng.uniform(3, 10))
        self._liver_reach_mm = float(rng.uniform(15, 60))
        self._bone = float(rng.uniform(0.75, 1.15))

    def paint(self, grid: Grid, regions: Regions) -> FloatArray:
        """Return Hounsfield units of all but the lungs, float32 ``[slices, rows, columns]``."""
        streaks, lumps = self._streaks.on(grid), self._lumps.on(grid)
        depth = self._skin_depth_mm(grid)
        volume = np.full(grid.shape, AIR_HU, np.float32)
        self._paint_table(volume, grid)
        fat = self._anatomy.habitus.fat_mm + 3 * lumps
        shell = MUSCLE_HU + 9 * streaks
        planes = (np.abs(lumps) < 0.09) | (streaks > 1.9)
        shell = np.where(planes & (regions.wall_mm > 13), FAT_HU + 35, shell)
        shell = np.where((depth < fat) & (regions.wall_mm > 9), FAT_HU + 8 * streaks, shell)
        shell = np.where(depth < 2, 10.0, shell)
        cavity = regions.wall_mm < 0
        shell = np.where(cavity, FAT_HU + 12 * lumps, shell)
        np.copyto(volume, shell, where=depth > 0)
        below = cavity & (grid.open[0] < regions.dome_z_mm)
        self._paint_abdomen(volume, grid, below, lumps)
        self._paint_mediastinum(volume, grid, regions.dome_z_mm)
        self._paint_ribs(volume, grid, regions.wall_mm, depth)
        self._paint_spine(volume, grid)
        self._paint_girdle(volume, grid)
        return volume

    def _back_mm(self) -> float:
        return self._anatomy.habitus.half_depth + 33 + 0.6 * self._anatomy.habitus.fat_mm

    def _skin_depth_mm(self, grid: Grid) -> FloatArray:
        """Return the approximate depth below the skin, positive inside the body."""
        h = self._anatomy.habitus
        z, y, x = grid.open
        neck = 1 / (1 + np.exp(-(z - h.apex_z - 8) / 9))
        half_width = (h.half_width + 17 + h.fat_mm) * (1 - neck) + 62 * neck
        front = (h.half_depth + 20 + 0.9 * h.fat_mm) * (1 - neck) + 48 * neck
        back = self._back_mm() * (1 - neck) + 82 * neck
        middle, half_depth = (back - front) / 2, (back + front) / 2
        level = (np.abs(x / half_width) ** 2.7 + np.abs((y - middle) / half_depth) ** 2.7) ** (1 / 2.7)
        depth = np.asarray((1 - level) * 0.8 * half_depth, np.float32)
        for shape in self._bulges():
            box = grid.box(*shape.bounds(8.0))
            if depth[box].size:
                depth[box] = np.maximum(depth[box], -shape.distance(grid.crop(box)))
        return depth

    def _bulges(self) -> tuple[Shape, ...]:
        """Return raised arms with the shoulders, and breasts."""
        h = self._anatomy.habitus
        arm = 40 + 0.4 * h.fat_mm
        shapes: list[Shape] = []
        for side in (-1, 1):
            x = side * (h.half_width + 2)
            shapes.append(Capsule((62, 18, 0.86 * x), (185, 2, 1.28 * x), 1.2 * arm, arm))
            if h.breasts:
                radii = (58 * h.breasts, 44 * h.breasts, 62 * h.breasts)
                shapes.append(Ellipsoid((-22, -h.half_depth - 12, 0.55 * x), radii))
        return tuple(shapes)

    def _paint_table(self, volume: FloatArray, grid: Grid) -> None:
        y, x = grid.y_mm[:, None], grid.x_mm[None, :]
        below = y - (self._back_mm() + self._table_gap_mm) + 26 * (x / 190) ** 2
        half = (np.abs(x) < 215) & (below > 0)
        table = np.where(below < 12, -910.0, AIR_HU)
        table = np.where((below > 12) & (below < 36), -870.0, table)
        table = np.where(np.abs(below - 13.5) < 1.5, -250.0, table)
        table = np.where(np.abs(below - 36) < 1.5, -250.0, table)
        volume[:, half] = table[half]

    def _paint_abdomen(self, volume: FloatArray, grid: Grid, below: BoolArray, lumps: FloatArray) -> None:
        z, y, x = grid.open
        top = self._anatomy.habitus.apex_z - 0.72 * self._anatomy.habitus.height
        gain = ORGAN_GAIN * self.blood_hu if self._is_enhanced else 0.0
        bowel = below & (lumps > 0.2)
        volume[bowel] = 28.0
        volume[below & (lumps > 1.5) & (z < top - 60) & (y < 10)] = -850.0
        edge = self._liver_reach_mm + 9 * lumps
        liver = below & (x < edge - 0.25 * (y + 40) - 0.2 * (top - z)) & (z > top - 120)
        volume[liver] = LIVER_HU + gain
        organs: list[tuple[Shape, float]] = [
            (Ellipsoid((top - 38, 44, 88), (42, 34, 26), 0.5), SPLEEN_HU + gain),
            (Ellipsoid((top - 36, -6, 58), (36, 44, 36), 0.2), SOFT_HU),
            (Ellipsoid((top - 37, -6, 58), (32, 40, 32), 0.2), WATER_HU + 15),
        ]
        for shape, hu in organs:
            volume[inside(grid, shape) & below] = hu
        level = -14 + 16 * self._gas[0]
        volume[inside(grid, Ellipsoid((top - 36, -6, 58), (31, 39, 31), 0.2)) & below & (y < level)] = AIR_HU
        for k in range(3):
            shift = 14 * np.array(self._gas[3 * k + 1 : 3 * k + 4])
            centre = (top - 78 - shift[0], -38 + shift[1], 84 - 34 * k + shift[2])
            gas = Ellipsoid(centre, (14, 17, 20), self._gas[k])
            volume[inside(grid, gas) & below] = -960.0

    def _paint_mediastinum(self, volume: FloatArray, grid: Grid, dome_z_mm: FloatArray) -> None:
        organs = self._anatomy.mediastinum
        muscle = 95.0 if self._is_enhanced else SOFT_HU
        above = grid.open[0] > dome_z_mm - 1.0
        volume[inside(grid, *organs.heart) & above] = muscle
        volume[inside(grid, *organs.soft)] = SOFT_HU - 4
        chambers, vessels = organs.blood[: len(organs.heart)], organs.blood[len(organs.heart) :]
        volume[inside(grid, *chambers) & above] = self.blood_hu
        volume[inside(grid, *vessels)] = self.blood_hu
        walls = [
            Capsule(tube.start, tube.end, tube.start_radius + 1.4, tube.end_radius + 1.4)
            for tube in organs.windpipe
        ]
        volume[inside(grid, *walls)] = SOFT_HU
        volume[inside(grid, *organs.windpipe)] = AIR_HU + 4

    def _paint_ribs(self, volume: FloatArray, grid: Grid, wall_mm: FloatArray, depth: FloatArray) -> None:
        h = self._anatomy.habitus
        shell = np.nonzero((wall_mm > 0.5) & (wall_mm < 13) & (depth > 5))
        number = self._anatomy.rib_number(grid)[shell[0], shell[1], 0]
        y, x = grid.y_mm[shell[1]], grid.x_mm[shell[2]]
        off = (number - np.floor(number) - 0.5) * RIB_PITCH_MM
        level = ((wall_mm[shell] - RIB_DEPTH_MM) / 4.2) ** 2 + (off / 6.3) ** 2
        rib = (level < 1) & (number > 0) & (number < N_RIBS)
        rib &= (number < 8) | (y > 25 * (number - 9))
        cartilage = (y < -0.62 * h.half_depth) & (np.abs(x) < 62)
        bone = np.where(level > 0.5, CORTEX_HU, MARROW_HU) * self._bone
        keep = tuple(axis[rib] for axis in shell)
        volume[keep] = np.where(cartilage, CARTILAGE_HU, bone)[rib]

    def _paint_spine(self, volume: FloatArray, grid: Grid) -> None:
        box = grid.box((-1e3, -1e3, -48), (1e3, 1e3, 48))
        part = volume[box]
        z, y, x = grid.crop(box).open
        back = y - self._anatomy.spine_y_mm(z)
        phase = np.mod(z + 3, 24.0) - 12
        waist = 1 - 0.1 * np.cos(np.pi * phase / 12)
        level = np.hypot(x / (17.5 * waist), back / (15 * waist))
        disc = np.abs(phase) > 9.6
        rim = (level > 0.88) | (np.abs(phase) > 8.4)
        bone = np.where(rim, 0.62 * CORTEX_HU, MARROW_HU) * self._bone
        np.copyto(part, np.where(disc, DISC_HU, bone), where=level < 1)
        process = (np.abs(x) < 3.6) & (back > 26) & (back < 50) & (np.abs(phase + 0.5 * (back - 26)) < 9)
        lamina = np.abs(np.hypot(x / 13, (back - 22) / 11) - 1) < 0.28
        lamina = lamina & (back > 13) & (np.abs(phase) < 10)
        across = (np.abs(back - 22 - 0.25 * np.abs(x)) < 4.5) & (np.abs(x) < 36) & (np.abs(x) > 12)
        across = across & (np.abs(phase + 1) < 5)
        np.copyto(part, CORTEX_HU * 0.7 * self._bone, where=process | lamina | across)
        np.copyto(part, 22.0, where=np.hypot(x / 9.5, (back - 22) / 8) < 1)

    def _paint_girdle(self, volume: FloatArray, grid: Grid) -> None:
        """Paint sternum, collarbones, shoulder blades and upper arms."""
        h = self._anatomy.habitus
        front = -h.half_depth
        bones: list[Shape] = [
            Ellipsoid((5, front - 3, -1), (80, 6, 17), 0.0),
            Ellipsoid((72, front + 14, -1), (22, 7, 26)),
        ]
        for side in (-1, 1):
            x = side * h.half_width
            bones.append(Capsule((84, front + 16, 0.17 * x), (118, 0, 0.86 * x), 6.5, 6))
            bones.append(Ellipsoid((40, 0.62 * h.half_depth + 14, 0.86 * x), (58, 5, 32), -0.85 * side))
            bones.append(Ellipsoid((112, 12, 1.02 * x), (24, 23, 23)))
            bones.append(Capsule((115, 12, 1.02 * x), (190, 2, 1.26 * x), 13, 11))
        for bone in bones:
            box = grid.box(*bone.bounds(0.0))
            part = volume[box]
            if part.size:
                distance = bone.distance(grid.crop(box))
                hu = np.where(distance > -2.2, CORTEX_HU, MARROW_HU) * self._bone
                np.copyto(part, hu, where=(distance < 0) & (part > -300))
