"""Synthetic chest CT in Hounsfield units around lobes that experts drew.

The lobes and airways of a real patient are kept; everything else is painted at random around them: fat and
muscle, ribs, spine and sternum, mediastinum with heart and aorta, liver, stomach gas and a table, and inside
the lungs parenchyma with a gravity gradient, vessels, fissures and airway walls. Wide randomisation, rather
than realism of any single image, carries the networks over to real CT (Tobin et al. 2017, arXiv 1703.06907).

Arrays are ``[slices, rows, columns]`` with axes S, P, L: slice 0 is the most caudal one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lungct_research.datasets.arrays import BoolArray, FloatArray, Labels, Spacing
from lungct_research.datasets.densities import EFFUSION_HU
from lungct_research.datasets.volumes import AIRWAY_BIT
from lungct_research.synthesis.fields import axes_mm, signed_depth_mm, smooth_field
from lungct_research.synthesis.scanner import ANY_PROTOCOL, Protocol, scan
from lungct_research.synthesis.vessels import vessel_share

ANATOMY_SPACING_MM = 1.5
MARGINS_MM = {
    "caudal": (5, 80),
    "cranial": (0, 50),
    "anterior": (30, 70),
    "posterior": (35, 90),
    "side": (35, 90),
}
RIB_SPACING_MM = 26.0

EFFUSION_SHARE = 0.12
EFFUSION_DEPTH_MM = (10.0, 60.0)
"""Share of chests with an effusion and its depth; own decision: it is found in 5 to 10 % of CTs of COVID-19,
more often in bacterial pneumonia."""


@dataclass(frozen=True, eq=False)
class SyntheticChest:
    """A synthetic chest and its truth.

    Attributes:
        volume_hu: ``[slices, rows, columns]`` float32.
        lobes: 0 outside the lungs, else :attr:`lungct.records.Lobe.label`.
        airways: lumen of trachea and bronchi.
        spacing_mm: along slices, rows, columns.
    """

    volume_hu: FloatArray
    lobes: Labels
    airways: BoolArray
    spacing_mm: Spacing


def make_chest(
    anatomy: Labels,
    rng: np.random.Generator,
    spacing_mm: Spacing,
    protocol: Protocol = ANY_PROTOCOL,
    effusion_share: float = EFFUSION_SHARE,
) -> SyntheticChest:
    """Paint a chest around one anatomy.

    Args:
        anatomy: codes of the expert lobes at 1.5 mm, axes S, P, L.
        rng: the only source of randomness.
        spacing_mm: wanted grid, along slices, rows, columns.
        protocol: settings of the scanner.
        effusion_share: probability of fluid beside a lung.
    """
    codes = _place(anatomy, rng, spacing_mm)
    lobes = codes & np.uint8(AIRWAY_BIT - 1)
    airways = codes >= AIRWAY_BIT
    depth_mm = signed_depth_mm(lobes > 0, spacing_mm)
    painter = _Painter(rng, spacing_mm, lobes, depth_mm)
    volume_hu = painter.body()
    painter.paint_lungs(volume_hu, airways)
    painter.paint_airways(volume_hu, airways)
    if rng.random() < effusion_share:
        fluid = painter.paint_effusion(volume_hu)
        lobes, airways = np.where(fluid, 0, lobes).astype(np.uint8), airways & ~fluid
    return SyntheticChest(scan(volume_hu, rng, spacing_mm, protocol), lobes, airways, spacing_mm)


def _place(anatomy: Labels, rng: np.random.Generator, spacing_mm: Spacing) -> Labels:
    """Scale the anatomy at random onto the wanted grid with margins; the trachea goes on cranially."""
    voxel_mm = ANATOMY_SPACING_MM * rng.uniform(0.88, 1.12) * rng.uniform(0.95, 1.05, 3)
    side = rng.uniform(*MARGINS_MM["side"])
    margins = [
        (rng.uniform(*MARGINS_MM["caudal"]), rng.uniform(*MARGINS_MM["cranial"])),
        (rng.uniform(*MARGINS_MM["anterior"]), rng.uniform(*MARGINS_MM["posterior"])),
        (side, side),
    ]
    padded = np.pad(anatomy, ((1, 0), (1, 1), (1, 1)))
    picks = []
    for axis, (before, after) in enumerate(margins):
        n = anatomy.shape[axis]
        size = round((n * voxel_mm[axis] + before + after) / spacing_mm[axis])
        centres_mm = (np.arange(size) + 0.5) * spacing_mm[axis] - before
        picks.append(
            np.clip(np.floor(centres_mm / voxel_mm[axis]).astype(int) + 1, 0, padded.shape[axis] - 1)
        )
    return padded[np.ix_(*picks)]


class _Painter:
    """Paints tissue by tissue; holds what all of them need."""

    def __init__(
        self, rng: np.random.Generator, spacing_mm: Spacing, lobes: Labels, depth_mm: FloatArray
    ) -> None:
        self.rng, self.spacing_mm, self.lobes, self.depth_mm = rng, spacing_mm, lobes, depth_mm
        self.lung = lobes > 0
        self.z, self.y, self.x = axes_mm(lobes.shape, spacing_mm)
        occupied = np.flatnonzero(self.lung.any((1, 2)))
        self.low_z, self.high_z = (
            float(occupied[0] * spacing_mm[0]),
            float((occupied[-1] + 1) * spacing_mm[0]),
        )
        self.centre_y, self.half_y = self._outline(1)
        self.centre_x, self.half_x = self._outline(2)
        power = rng.uniform(2.2, 3.0)
        level = np.abs(self.x - self.centre_x) ** power / self.half_x**power
        level = (level + np.abs(self.y - self.centre_y) ** power / self.half_y**power) ** (1 / power)
        self.outside_cage_mm = ((level - 1) * np.minimum(self.half_x, self.half_y)).astype(np.float32)

    def field(self, knot_mm: float) -> FloatArray:
        return smooth_field(self.rng, self.lobes.shape, self.spacing_mm, knot_mm)

    def pick(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def _outline(self, axis: int) -> tuple[FloatArray, FloatArray]:
        """Return centre and half width in mm of the rib cage along an axis, smooth, ``[slices, 1, 1]``."""
        profile = np.asarray(self.lung.any(3 - axis))
        slices = np.flatnonzero(np.any(profile, 1))
        low = profile.argmax(1).astype(float)
        high = profile.shape[1] - profile[:, ::-1].argmax(1).astype(float)
        every = np.arange(len(profile))
        reach = int(70 / self.spacing_mm[0]) | 1
        low = ndimage.minimum_filter1d(np.interp(every, slices, low[slices]), reach, mode="nearest")
        high = ndimage.maximum_filter1d(np.interp(every, slices, high[slices]), reach, mode="nearest")
        low, high = (
            ndimage.gaussian_filter1d(edge, 25 / self.spacing_mm[0], mode="nearest") for edge in (low, high)
        )
        step = self.spacing_mm[axis]
        centre = (low + high) / 2 * step
        half = (high - low) / 2 * step * self.pick(0.97, 1.06)
        return centre[:, None, None].astype(np.float32), half[:, None, None].astype(np.float32)

    def body(self) -> FloatArray:
        """Return the HU of everything but the lungs."""
        fat_mm, muscle_mm = self.pick(4, 30), self.pick(8, 22)
        wall_mm = fat_mm + muscle_mm + 5 * self.field(70.0)
        shoulders = np.clip((self.z - self.high_z + 60) / 60, 0, 1.5) * self.pick(-5, 30)
        body = (self.outside_cage_mm < wall_mm + shoulders) | (self.depth_mm > -self.pick(7, 14))
        muscle = (self.outside_cage_mm < wall_mm + shoulders - fat_mm) | (self.depth_mm > -5)
        volume_hu = np.full(self.lobes.shape, self.rng.choice([-1000.0, -1024.0, -1040.0]), np.float32)
        self._paint_table(volume_hu)
        volume_hu[body] = self.pick(-120, -80)
        streaks = self.field(14.0) > self.pick(1.0, 2.5)
        volume_hu[muscle & ~streaks] = self.pick(35, 75)
        self._paint_inside(volume_hu)
        self._paint_bones(volume_hu, body)
        return volume_hu

    def _paint_table(self, volume_hu: FloatArray) -> None:
        if self.rng.random() < 0.4:
            return
        back_mm = self.centre_y + self.half_y + self.pick(28, 60)
        bend = ((self.x - self.centre_x) / 250) ** 2 * self.pick(0, 60)
        below_mm = self.y - back_mm + bend
        thick = self.pick(20, 50)
        volume_hu[(below_mm > 0) & (below_mm < thick)] = self.pick(-990, -850)
        shell = self.pick(2, 6)
        edges = (np.abs(below_mm) < shell / 2) | (np.abs(below_mm - thick) < shell / 2)
        volume_hu[edges] = self.pick(-700, 100)

    def _paint_inside(self, volume_hu: FloatArray) -> None:
        """Paint mediastinum and upper abdomen: soft tissue with fat, heart, aorta, liver, gas."""
        inside = (self.outside_cage_mm < -2) & ~self.lung
        texture = self.field(25.0)
        volume_hu[inside] = self.pick(25, 60)
        volume_hu[inside & (texture > self.pick(0.3, 1.6)) & (self.depth_mm < -3)] = self.pick(-115, -70)
        height = self.high_z - self.low_z
        blood = self.pick(30, 60) + (self.rng.random() < 0.5) * self.pick(0, 260)
        heart_z, heart_y = self.low_z + height * self.pick(0.2, 0.4), self.centre_y - self.half_y * 0.25
        heart = self._ball((heart_z, heart_y, self.centre_x + self.pick(5, 25)), (55, 50, 60))
        volume_hu[inside & (heart < self.pick(0.8, 1.2))] = blood
        aorta_x = self.centre_x + self.pick(15, 30)
        aorta = np.hypot(self.x - aorta_x, self.y - self.centre_y - self.half_y * self.pick(0.25, 0.45))
        volume_hu[inside & (aorta < self.pick(9, 16))] = blood + self.pick(-10, 10)
        abdomen = inside & (self.z < self.low_z + height * 0.55)
        from_middle = self.x - self.centre_x
        liver = abdomen & (self.x < self.centre_x + self.pick(-10, 60)) & (np.abs(from_middle) > 35)
        volume_hu[liver] = self.pick(30, 115)
        gas_at = (
            self.low_z + self.pick(-20, 60),
            self.centre_y - self.pick(0, 50),
            self.centre_x + self.pick(30, 90),
        )
        gas = self._ball(gas_at, (self.pick(8, 30), self.pick(8, 25), self.pick(10, 40))) < 1 + 0.15 * texture
        if self.rng.random() < 0.6:
            volume_hu[abdomen & gas & (self.depth_mm < -7)] = -990

    def _ball(self, centre: tuple[float | FloatArray, ...], radii: tuple[float, float, float]) -> FloatArray:
        """Return the distance from the centre in radii."""
        axes = zip((self.z, self.y, self.x), centre, radii, strict=True)
        return np.asarray(np.sqrt(sum(((axis - at) / radius) ** 2 for axis, at, radius in axes)))

    def _paint_bones(self, volume_hu: FloatArray, body: BoolArray) -> None:
        slope = self.pick(0.3, 0.7)
        phase = self.z + slope * (self.centre_y - self.y) * -1 + self.pick(0, RIB_SPACING_MM)
        band = np.cos(phase * (2 * np.pi / RIB_SPACING_MM)) > self.pick(0.1, 0.5)
        ribs = (
            band & (self.depth_mm < -3.5) & (self.depth_mm > -self.pick(9, 13)) & (self.outside_cage_mm > -9)
        )
        marrow = (self.depth_mm < -5) & (self.depth_mm > -8)
        cortex = self.pick(250, 700)
        volume_hu[ribs & body] = cortex
        volume_hu[ribs & marrow & body] = cortex * self.pick(0.3, 0.8)
        spine_y = self.centre_y + self.half_y * self.pick(0.62, 0.75)
        radius = self.pick(15, 21)
        spine = np.hypot(self.x - self.centre_x, (self.y - spine_y) * self.pick(1.0, 1.3)) / radius
        discs = np.cos(self.z * (2 * np.pi / self.pick(22, 30))) > -0.8
        free = ~self.lung & (self.depth_mm < -1.5)
        volume_hu[(spine < 1) & free] = self.pick(60, 120)
        volume_hu[(spine < 1) & free & discs] = self.pick(120, 300)
        volume_hu[(spine < 1) & (spine > 0.85) & free & discs] = cortex
        arch_y = spine_y + radius + 8
        arch = np.hypot((self.x - self.centre_x) / 2, self.y - arch_y)
        volume_hu[(arch > 8) & (arch < 13) & (self.y > arch_y - 6) & free & body] = cortex * 0.8
        sternum_y = self.centre_y - self.half_y - self.pick(2, 8)
        sternum = (np.abs(self.x - self.centre_x) < self.pick(12, 20)) & (np.abs(self.y - sternum_y) < 6)
        volume_hu[sternum & free & body & (self.z > self.low_z + 60)] = self.pick(120, 300)
        self._paint_scapulae(volume_hu, body & free, cortex)

    def _paint_scapulae(self, volume_hu: FloatArray, where: BoolArray, cortex: float) -> None:
        sheet = np.abs(self.outside_cage_mm - self.pick(12, 22) - 4 * self.field(40.0)) < 3
        beside = (np.abs(self.x - self.centre_x) > 50) & (self.y > self.centre_y + 10)
        volume_hu[sheet & beside & where & (self.z > self.high_z - 110)] = cortex

    def paint_lungs(self, volume_hu: FloatArray, airways: BoolArray) -> None:
        """Paint parenchyma, vessels and fissures inside the lobes, in place."""
        gravity = (self.y - self.centre_y) / self.half_y * self.pick(0, 60)
        tissue = (
            self.pick(-900, -760)
            + gravity
            + self.pick(5, 30) * self.field(30.0)
            + self.pick(5, 25) * self.field(6.0)
        )
        fissure, near_fissure_mm = self._fissures()
        tissue += fissure * self.pick(60, 450) * (self.field(40.0) > self.pick(-2.5, 0.5))
        near_edge_mm = np.minimum(near_fissure_mm, self.depth_mm)
        vessels = vessel_share(self.rng, self.lobes, airways, near_edge_mm, self.spacing_mm)
        tissue += vessels * (self.pick(0, 60) - tissue)
        volume_hu[self.lung] = tissue[self.lung]

    def _fissures(self) -> tuple[FloatArray, FloatArray]:
        """Return sheets between lobes (0 to 1), and the distance to them in mm, capped."""
        low = ndimage.minimum_filter(np.where(self.lung, self.lobes, 9), 3)
        high = ndimage.maximum_filter(self.lobes, 3)
        sheet = ((low != high) & self.lung).astype(np.float32)
        share = min(1.0, self.pick(0.8, 2.0) / (2 * float(np.mean(self.spacing_mm))))
        spread = ndimage.gaussian_filter(sheet, [4 / step for step in self.spacing_mm])
        return sheet * share, np.clip(10 * (1 - 3 * spread), 0, 10)

    def paint_airways(self, volume_hu: FloatArray, airways: BoolArray) -> None:
        """Paint lumen and wall of trachea and bronchi, in place."""
        wall = ndimage.binary_dilation(airways, iterations=1) & ~airways
        volume_hu[wall] = np.maximum(volume_hu[wall], self.pick(-300, 20))
        volume_hu[airways] = self.pick(-1000, -930)

    def paint_effusion(self, volume_hu: FloatArray) -> BoolArray:
        """Paint fluid behind one lung, with lung pressed together beside it, in place; mark the fluid."""
        is_left = self.x > self.centre_x
        side = self.lung & (is_left if self.rng.random() < 0.5 else ~is_left)
        top_z = self.low_z + (self.high_z - self.low_z) * self.pick(0.3, 0.9)
        backward = np.clip((self.y - self.centre_y) / self.half_y + self.pick(0, 0.5), 0, 1)
        downward = np.clip((top_z - self.z) / (top_z - self.low_z), 0, 1)
        deep_mm = self.pick(*EFFUSION_DEPTH_MM) * backward * downward + 2 * self.field(25.0)
        near_wall = self.outside_cage_mm > -deep_mm - 12
        fluid = side & (self.depth_mm < deep_mm) & near_wall & (deep_mm > 1)
        pressed_mm = self.pick(3, 20)
        pressed = side & ~fluid & near_wall & (self.depth_mm < deep_mm + pressed_mm) & (deep_mm > 1)
        volume_hu[pressed] = np.maximum(volume_hu[pressed], self.pick(-300, 60))
        volume_hu[fluid] = self.pick(*EFFUSION_HU)
        return np.asarray(fluid)
