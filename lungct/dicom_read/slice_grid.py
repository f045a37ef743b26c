"""Where slices lie: common plane, order along the normal, distances and grid; no pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from highdicom.spatial import get_volume_positions

from lungct.errors import GeometryError
from lungct.records import Float64Array, Series, SliceHeader

SPACING_RELATIVE_TOLERANCE = 1e-2
"""Slice gaps that differ by less from their mean are equal (highdicom's default)."""
ROUNDING_MM = 0.1
"""Scanners that write positions with one decimal are off by half of this, and the first slice too."""

SMALLEST_SHARE_OF_MEDIAN_GAP = 0.5
"""Own decision: slices nearer to each other than this belong to two acquisitions."""

SAME_POSITION_MM = 1e-2
ORIENTATION_TOLERANCE = 1e-3
PIXEL_SPACING_TOLERANCE_MM = 1e-3
MAX_GAP_MM = 5.0
"""Own decision: opacities of a few millimetres can hide in wider gaps, so these are not interpolated."""

MAX_SHIFT_PER_MM = 1.0
"""Own decision: slices shifted by more than their distance, a tilt of 45 degrees, are no gantry tilt."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Parallel slices of one size, ascending along their normal.

    Attributes:
        name: how messages call the series.
        slices: headers, caudal to cranial where rows run to the left and columns to the back.
        positions_mm: ``[slices, 3]``, LPS, centre of the first voxel of each slice.
        directions: ``[2, 3]``, LPS unit vectors along a row and along a column.
        pixel_spacing_mm: ``[2]``, distance between rows, then between columns, as in DICOM.
    """

    name: str
    slices: tuple[SliceHeader, ...]
    positions_mm: Float64Array
    directions: Float64Array
    pixel_spacing_mm: Float64Array

    @cached_property
    def distances_mm(self) -> Float64Array:
        """Positions ``[slices]`` along the normal."""
        return np.asarray(self.positions_mm @ slice_normal(self.directions))

    @cached_property
    def shifts_mm(self) -> Float64Array:
        """Offsets ``[slices, 2]`` from the first slice within its plane, along (rows, columns) of voxels."""
        return np.asarray((self.positions_mm - self.positions_mm[0]) @ self.directions[::-1].T)

    @cached_property
    def is_new(self) -> npt.NDArray[np.bool_]:
        """Whether each of ``[slices]`` lies elsewhere than the one before."""
        return np.asarray(np.diff(self.distances_mm, prepend=-np.inf) > SAME_POSITION_MM)

    def select(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Stack:
        """Return the slices of a mask, or in the order of an index."""
        slices = tuple(self.slices[i] for i in np.arange(len(self.slices))[which])
        return replace(self, slices=slices, positions_mm=self.positions_mm[which])

    def affine_lps(self, slice_spacing_mm: float, corner_mm: Float64Array) -> Float64Array:
        """Matrix from indices (slice, row, column, 1) to LPS millimetres.

        Args:
            slice_spacing_mm: distance between slices of the grid.
            corner_mm: ``[2]``, offset of the grid's corner from the first slice along (rows, columns).
        """
        along_row, along_column = self.directions
        affine = np.eye(4)
        affine[:3, 0] = slice_normal(self.directions) * slice_spacing_mm
        affine[:3, 1] = along_column * self.pixel_spacing_mm[0]
        affine[:3, 2] = along_row * self.pixel_spacing_mm[1]
        affine[:3, 3] = self.positions_mm[0] + corner_mm @ self.directions[::-1]
        return affine


@dataclass(frozen=True)
class SliceGrid:
    """Evenly spaced positions that replace those of a stack.

    Attributes:
        n_missing: how many positions have no slice; 0 where all have one or where spacing is uneven.
    """

    n_slices: int
    spacing_mm: float
    is_even: bool
    n_missing: int


def slice_normal(orientation: npt.ArrayLike) -> Float64Array:
    """Return the unit normal of a slice, LPS: direction along a row x direction along a column."""
    normal = np.cross(*np.reshape(np.asarray(orientation, dtype=np.float64), (2, 3)))
    return np.asarray(normal / max(float(np.linalg.norm(normal)), 1e-9))


def slice_distances_mm(slices: Sequence[SliceHeader]) -> Float64Array:
    """Return the places ``[slices with a position]`` along the normal of the first, in the given order."""
    if slices[0].orientation is None:
        return np.empty(0)
    positions = [image.position_mm for image in slices if image.position_mm is not None]
    return np.reshape(positions, (-1, 3)).astype(np.float64) @ slice_normal(slices[0].orientation)


def sort_slices(series: Series) -> Stack:
    """Order the slices of a series along their normal.

    Raises:
        GeometryError: a slice has no place, or not the size, orientation or pixel spacing of the others.
    """
    sizes = np.array([(image.rows, image.columns) for image in series.slices], dtype=np.float64)
    orientations = _stated(series, [image.orientation for image in series.slices])
    spacings_mm = _stated(series, [image.pixel_spacing_mm for image in series.slices])
    positions_mm = _stated(series, [image.position_mm for image in series.slices])
    _require_alike(series, "size", "MIXED_SIZES", sizes, 0.0)
    _require_alike(series, "orientation", "MIXED_ORIENTATIONS", orientations, ORIENTATION_TOLERANCE)
    _require_alike(series, "pixel spacing", "MIXED_PIXEL_SPACINGS", spacings_mm, PIXEL_SPACING_TOLERANCE_MM)
    directions = orientations[0].reshape(2, 3)
    _require_orthogonal(series, directions)
    stack = Stack(series.name, series.slices, positions_mm, directions, spacings_mm[0])
    return stack.select(np.argsort(stack.distances_mm, kind="stable"))


def even_grid(stack: Stack) -> SliceGrid:
    """Return the evenly spaced grid that fits a stack without duplicates.

    Raises:
        GeometryError: there are fewer than two slices, they lie too far to the side of each other, two
            acquisitions lie between each other, or a gap is too wide to be interpolated.
    """
    if len(stack.slices) <= 1:
        raise GeometryError(f"{stack.name} has one position only; send the whole series", "SINGLE_SLICE")
    _require_small_shifts(stack)
    extent_mm = float(stack.distances_mm[-1] - stack.distances_mm[0])
    spacing_mm = _regular_spacing_mm(stack.distances_mm, allow_missing=False)
    if spacing_mm is None and _is_even_but_rounded(stack.distances_mm):
        spacing_mm = extent_mm / (len(stack.slices) - 1)
    if spacing_mm is not None:
        return SliceGrid(len(stack.slices), spacing_mm, is_even=True, n_missing=0)
    _require_one_acquisition(stack)
    _require_narrow_gaps(stack)
    regular_mm = _regular_spacing_mm(stack.distances_mm, allow_missing=True)
    steps = round(extent_mm / (regular_mm or float(np.median(np.diff(stack.distances_mm)))))
    missing = steps + 1 - len(stack.slices) if regular_mm else 0
    return SliceGrid(steps + 1, extent_mm / steps, is_even=False, n_missing=missing)


def _is_even_but_rounded(distances_mm: Float64Array) -> bool:
    even_mm = np.linspace(distances_mm[0], distances_mm[-1], len(distances_mm))
    tolerance_mm = min(ROUNDING_MM, 0.25 * float(even_mm[1] - even_mm[0]))
    return bool(np.abs(distances_mm - even_mm).max() <= tolerance_mm)


def _regular_spacing_mm(distances_mm: Float64Array, *, allow_missing: bool) -> float | None:
    """Return the spacing of distances that are equal or multiples of the smallest, else None."""
    spacing_mm, _ = get_volume_positions(
        np.outer(distances_mm, [0, 0, 1]).tolist(),
        [1, 0, 0, 0, 1, 0],
        rtol=SPACING_RELATIVE_TOLERANCE,
        allow_missing_positions=allow_missing,
    )
    return spacing_mm


def _stated(series: Series, values: Sequence[tuple[float, ...] | None]) -> Float64Array:
    """Return the values as an array; none may be missing."""
    for image, value in zip(series.slices, values, strict=True):
        if value is None:
            raise GeometryError(
                f"{image.name} does not say where its slice lies (position, orientation or pixel spacing); "
                f"remove it from {series.name} if it is no CT slice, else export it again",
                "SLICE_WITHOUT_POSITION",
            )
    return np.array(values, dtype=np.float64)


def _require_alike(series: Series, what: str, code: str, values: Float64Array, tolerance: float) -> None:
    """Compare every slice with the median of all, so that the odd one out is the one named."""
    odd = np.abs(values - np.median(values, axis=0)).max(axis=1) > tolerance
    if odd.any():
        name = series.slices[int(odd.argmax())].name
        message = f"{name} has another {what} than the rest of {series.name}; send it as its own series"
        raise GeometryError(message, code)


def _require_orthogonal(series: Series, directions: Float64Array) -> None:
    if np.abs(directions @ directions.T - np.eye(2)).max() > ORIENTATION_TOLERANCE:
        name = series.slices[0].name
        message = f"rows and columns of {name} are not unit vectors at right angles; export the series again"
        raise GeometryError(message, "BAD_ORIENTATION")


def _require_one_acquisition(stack: Stack) -> None:
    gaps_mm = np.diff(stack.distances_mm)
    narrowest = int(gaps_mm.argmin())
    if gaps_mm[narrowest] < SMALLEST_SHARE_OF_MEDIAN_GAP * float(np.median(gaps_mm)):
        below, above = stack.slices[narrowest].name, stack.slices[narrowest + 1].name
        raise GeometryError(
            f"{stack.name}: {below} and {above} lie only {gaps_mm[narrowest]:.2g} mm apart, the others "
            f"{np.median(gaps_mm):.4g} mm; send acquisitions as series of their own",
            "INTERLEAVED_SLICES",
        )


def _require_narrow_gaps(stack: Stack) -> None:
    gaps_mm = np.diff(stack.distances_mm)
    widest = int(gaps_mm.argmax())
    if gaps_mm[widest] > MAX_GAP_MM:
        below, above = stack.slices[widest].name, stack.slices[widest + 1].name
        raise GeometryError(
            f"{stack.name}: {gaps_mm[widest]:.4g} mm lie between {below} and {above}, too far to interpolate "
            f"(at most {MAX_GAP_MM:g} mm); send the missing slices",
            "GAP_TOO_WIDE",
        )


def _require_small_shifts(stack: Stack) -> None:
    sideways_mm = np.abs(np.diff(stack.shifts_mm, axis=0)).max(axis=1)
    excess = sideways_mm - MAX_SHIFT_PER_MM * np.diff(stack.distances_mm)
    worst = int(excess.argmax())
    if excess[worst] > 0:
        below, above = stack.slices[worst].name, stack.slices[worst + 1].name
        raise GeometryError(
            f"{stack.name}: {above} lies {sideways_mm[worst]:.4g} mm to the side of {below}; "
            "send series with another centre on their own",
            "SHIFTED_SLICES",
        )
