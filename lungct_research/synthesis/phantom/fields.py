"""Grids, smooth random fields and signed distances, with which the phantom's anatomy is drawn.

Coordinates are millimetres along S, P and L (cranial, posterior and the patient's left are positive),
always in the order ``(z, y, x)`` of the array axes ``[slices, rows, columns]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lungct_research.datasets.arrays import BoolArray, FloatArray

Point = tuple[float, float, float]
Box = tuple[slice, slice, slice]

FIELD_REACH_MM = (230.0, 230.0, 260.0)
SPLINE_NOISE_STD = 0.33
FAR_MM = 15.0


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular grid of voxel centres.

    Attributes:
        z_mm: ``[slices]``, ascending towards cranial.
        y_mm: ``[rows]``, ascending towards posterior.
        x_mm: ``[columns]``, ascending towards the patient's left.
    """

    z_mm: FloatArray
    y_mm: FloatArray
    x_mm: FloatArray

    @classmethod
    def centred(cls, centre_mm: Point, step_mm: Point, shape: tuple[int, int, int]) -> Grid:
        """Return the grid of ``shape`` voxels, ``step_mm`` apart, around ``centre_mm``."""
        axes = [
            (centre + step * (np.arange(size) - (size - 1) / 2)).astype(np.float32)
            for centre, step, size in zip(centre_mm, step_mm, shape, strict=True)
        ]
        return cls(*axes)

    @property
    def axes_mm(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the three one-dimensional coordinate arrays."""
        return self.z_mm, self.y_mm, self.x_mm

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the number of slices, rows and columns."""
        return len(self.z_mm), len(self.y_mm), len(self.x_mm)

    @cached_property
    def step_mm(self) -> Point:
        """Return the distances of voxel centres along (slices, rows, columns); 1 where there is one voxel."""
        z, y, x = (float(axis[1] - axis[0]) if len(axis) > 1 else 1.0 for axis in self.axes_mm)
        return z, y, x

    @property
    def open(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return coordinates shaped ``[slices, 1, 1]``, ``[1, rows, 1]`` and ``[1, 1, columns]``."""
        return self.z_mm[:, None, None], self.y_mm[None, :, None], self.x_mm[None, None, :]

    def box(self, low_mm: npt.ArrayLike, high_mm: npt.ArrayLike) -> Box:
        """Return the part of the grid between two corners, possibly empty."""
        lows, highs = np.asarray(low_mm, float).tolist(), np.asarray(high_mm, float).tolist()
        z, y, x = (
            _between(float(axis[0]), step, len(axis), low, high)
            for axis, step, low, high in zip(self.axes_mm, self.step_mm, lows, highs, strict=True)
        )
        return z, y, x

    def crop(self, box: Box) -> Grid:
        """Return the grid of a box of this grid."""
        return Grid(self.z_mm[box[0]], self.y_mm[box[1]], self.x_mm[box[2]])


def _between(first: float, step: float, size: int, low: float, high: float) -> slice:
    start = min(max(int(np.ceil((low - first) / step)), 0), size)
    stop = min(max(int(np.floor((high - first) / step)) + 1, start), size)
    return slice(start, stop)


class RandomField:
    """Smooth noise of about zero mean and unit deviation, the same in space whatever grid samples it.

    Random coefficients on a lattice of ``knot_mm`` carry cubic B-splines.
    """

    def __init__(self, rng: np.random.Generator, knot_mm: float) -> None:
        """Draw the coefficients from ``rng``."""
        self._axes = [np.arange(-reach, reach + knot_mm, knot_mm) for reach in FIELD_REACH_MM]
        self._knot_mm = knot_mm
        shape = [len(axis) for axis in self._axes]
        self._lattice = rng.standard_normal(shape, dtype=np.float32) / np.float32(SPLINE_NOISE_STD)

    def on(self, grid: Grid) -> FloatArray:
        """Return the field on a grid, float32 ``[slices, rows, columns]``."""
        used = []
        value: FloatArray = self._lattice
        for axis, (knots, points) in enumerate(zip(self._axes, grid.axes_mm, strict=True)):
            near = (knots > points[0] - 2 * self._knot_mm) & (knots < points[-1] + 2 * self._knot_mm)
            used.append(_spline_weights((points[:, None] - knots[None, near]) / self._knot_mm))
            value = np.asarray(np.compress(near, value, axis=axis), np.float32)
        value = np.tensordot(used[0], value, axes=(1, 0))
        value = np.matmul(used[1], value)
        return np.asarray(np.matmul(value, used[2].T), np.float32)


def _spline_weights(offset: npt.NDArray[np.floating]) -> FloatArray:
    distance = np.abs(offset)
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.asarray(np.where(distance < 1, near, far), np.float32)


@dataclass(frozen=True)
class Capsule:
    """A straight tube with round ends; the radius changes linearly from ``start`` to ``end``."""

    start: Point
    end: Point
    start_radius: float
    end_radius: float

    def bounds(self, margin: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the lowest and the highest corner, ``margin`` mm beyond the surface."""
        ends = np.array([self.start, self.end])
        reach = max(self.start_radius, self.end_radius) + margin
        return ends.min(axis=0) - reach, ends.max(axis=0) + reach

    def distance(self, grid: Grid) -> FloatArray:
        """Return the signed distance to the surface in mm, negative inside."""
        z, y, x = (axis - np.float32(start) for axis, start in zip(grid.open, self.start, strict=True))
        dz, dy, dx = (np.float32(b - a) for a, b in zip(self.start, self.end, strict=True))
        length2 = max(dz * dz + dy * dy + dx * dx, np.float32(1e-6))
        share: FloatArray = (z * (dz / length2) + y * (dy / length2)) + x * (dx / length2)
        np.maximum(np.minimum(share, 1, out=share), 0, out=share)
        squared: FloatArray = (z - share * dz) ** 2
        squared += (y - share * dy) ** 2
        squared += (x - share * dx) ** 2
        share *= np.float32(self.end_radius - self.start_radius)
        return np.asarray(np.sqrt(squared, out=squared) - share - np.float32(self.start_radius), np.float32)


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid; ``turn`` turns its (y, x) axes, then ``tilt`` its (z, x) axes, both in radians."""

    centre: Point
    radii: Point
    turn: float = 0.0
    tilt: float = 0.0

    def bounds(self, margin: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the lowest and the highest corner, at least ``margin`` mm beyond the surface."""
        turned = self.turn or self.tilt
        reach = np.full(3, max(self.radii)) if turned else np.array(self.radii)
        return np.array(self.centre) - reach - margin, np.array(self.centre) + reach + margin

    def level(self, grid: Grid) -> FloatArray:
        """Return the distance from the centre in radii: below 1 inside."""
        z, y, x = (axis - np.float32(at) for axis, at in zip(grid.open, self.centre, strict=True))
        sin, cos = np.float32(np.sin(self.turn)), np.float32(np.cos(self.turn))
        y, x = cos * y - sin * x, sin * y + cos * x
        sin, cos = np.float32(np.sin(self.tilt)), np.float32(np.cos(self.tilt))
        z, x = cos * z - sin * x, sin * z + cos * x
        parts = zip((z, y, x), self.radii, strict=True)
        return np.asarray(
            np.sqrt(sum((axis / np.float32(radius)) ** 2 for axis, radius in parts)), np.float32
        )

    def distance(self, grid: Grid) -> FloatArray:
        """Return the approximate signed distance to the surface in mm, negative inside."""
        return np.asarray((self.level(grid) - 1) * np.float32(np.cbrt(np.prod(self.radii))), np.float32)


Shape = Capsule | Ellipsoid


def stamp(distance_mm: FloatArray, grid: Grid, shape: Shape, grow_mm: float = 0.0) -> None:
    """Unite ``shape``, grown by ``grow_mm``, with the signed distance field ``distance_mm`` in place."""
    box = grid.box(*shape.bounds(FAR_MM + grow_mm))
    part = distance_mm[box]
    if part.size:
        np.minimum(part, shape.distance(grid.crop(box)) - np.float32(grow_mm), out=part)


def nowhere(grid: Grid) -> FloatArray:
    """Return the signed distance field of no shape at all: ``FAR_MM`` everywhere."""
    return np.full(grid.shape, FAR_MM, np.float32)


def inside(grid: Grid, *shapes: Shape) -> BoolArray:
    """Mark the voxels whose centre lies in any of the shapes."""
    mask = np.zeros(grid.shape, np.bool_)
    for shape in shapes:
        box = grid.box(*shape.bounds(0.0))
        if mask[box].size:
            mask[box] |= shape.distance(grid.crop(box)) < 0
    return mask


def bounding_box(mask: BoolArray) -> Box:
    """Return the smallest box that holds every true voxel; the whole array where there is none."""
    boxes: list[Box] = ndimage.find_objects(mask.astype(np.uint8))
    return boxes[0] if boxes else np.s_[:, :, :]
