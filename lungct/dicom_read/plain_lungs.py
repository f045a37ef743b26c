"""Lungs found by plain rules of air and body, without a network: enough to choose a series by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lungct.records import HuArray

CELL_MM = 4.0
"""Side of the squares that pixels are averaged over: noise is gone, the chest wall is not. Own decision."""

AERATED_HU = -400.0
"""Half-way between aerated lung (about -850 HU) and soft tissue (about 40 HU)."""

DENSEST_LUNG_HU = -450.0
"""Mean of an air-filled region above which it is no lung but fat, or the borders of something."""

EMPTY_HU = (-960.0, -900.0)
"""Between these lies the limit below which air holds no lung: noise that is clipped at -1024 HU lifts the
mean of plain air."""

ABOVE_OUTSIDE_AIR_HU = 40.0
"""Lung is denser than the air around the body by more than this, even in emphysema. Own decision."""

CERTAINLY_AIR_HU = -930.0
SMALLEST_LUNG_MM2 = 300.0
"""Of one region in one slice: what is smaller is windpipe, bowel gas, or of no account."""

LARGEST_GAS_MM2 = 2000.0
"""A region of empty air inside the body above this is no bulla inside a lung. Own decision."""

LEAST_OUTSIDE_MM2 = 100.0
RIM_CELLS = 2
"""Around empty air: there air and tissue share cells and look like lung."""

LEAST_ENCLOSED = 0.7
"""Share of a lung's cells with body on all sides, or on three where the picture cuts it."""

INSIDE_BODY = 0.02
"""Share of empty air at the border of a picture below which it lies within the body. Own decision."""

_IN_PLANE = np.zeros((3, 3, 3), bool)
_IN_PLANE[1] = ndimage.generate_binary_structure(2, 1)
_TWO_BY_TWO = np.ones((1, 2, 2), bool)

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]
_Labels = npt.NDArray[np.int32]


def average_cells(slice_hu: HuArray, pixel_spacing_mm: tuple[float, float]) -> tuple[FloatArray, float]:
    """Average a slice over squares of about :data:`CELL_MM`.

    Args:
        slice_hu: ``[rows, columns]``.
        pixel_spacing_mm: between rows, between columns.

    Returns:
        The means, and the area of a square in mm². Rows and columns that fill no square are left out.
    """
    row_mm, column_mm = pixel_spacing_mm
    n_rows, n_columns = max(1, round(CELL_MM / row_mm)), max(1, round(CELL_MM / column_mm))
    rows, columns = (n - n % step for n, step in zip(slice_hu.shape, (n_rows, n_columns), strict=True))
    in_rows = np.zeros((rows // n_rows, slice_hu.shape[1]), np.float32)
    for first in range(n_rows):  # several times as fast as the mean of a reshaped array
        in_rows += slice_hu[first:rows:n_rows]
    in_cells = np.zeros((len(in_rows), columns // n_columns), np.float32)
    for first in range(n_columns):
        in_cells += in_rows[:, first:columns:n_columns]
    in_cells /= n_rows * n_columns
    return in_cells, n_rows * row_mm * n_columns * column_mm


def find_lungs(cells_hu: FloatArray, cell_mm2: float) -> BoolArray:
    """Mark air-filled lung, slice by slice.

    Lung is air that is not empty and has body around it. Where the picture cuts a lung, its border stands in
    for the body on one side; on all sides in pictures from within a body. The large airways are mostly left
    out, and lung without air always.

    Args:
        cells_hu: ``[slices, rows, columns]`` of :func:`average_cells`.
        cell_mm2: area of a cell.
    """
    empty_hu = _empty_hu(cells_hu)
    gas = _empty_air(cells_hu < empty_hu, cell_mm2)
    rim = ndimage.binary_dilation(gas, _IN_PLANE, iterations=RIM_CELLS)
    regions, n_regions = ndimage.label((cells_hu < AERATED_HU) & ~rim, _IN_PLANE)
    numbers = np.arange(n_regions + 1)
    n_needed = np.where(_at_border(regions, n_regions), 3, 4)
    is_enclosed = _sides_with_body(find_body(cells_hu)) >= n_needed[regions]
    is_enclosed |= _lies_inside_body(gas)[:, None, None]
    mean_hu = ndimage.mean(cells_hu, regions, numbers)
    is_lung = (
        (np.bincount(regions.ravel(), minlength=n_regions + 1) * cell_mm2 > SMALLEST_LUNG_MM2)
        & (mean_hu > empty_hu)
        & (mean_hu < DENSEST_LUNG_HU)
        & (ndimage.mean(is_enclosed, regions, numbers) > LEAST_ENCLOSED)
    )
    is_lung[0] = False
    return np.asarray(is_lung[regions])


def find_body(cells_hu: FloatArray) -> BoolArray:
    """Mark the largest piece of tissue of every slice, without what is as thin as the shell of a table."""
    tissue = ndimage.binary_opening(cells_hu > AERATED_HU, _TWO_BY_TWO)
    pieces, n_pieces = ndimage.label(tissue, _IN_PLANE)
    is_body = np.zeros(n_pieces + 1, bool)
    for in_slice in pieces:
        sizes = np.bincount(in_slice.ravel())
        sizes[0] = 0
        is_body[sizes.argmax()] = True
    is_body[0] = False
    return np.asarray(is_body[pieces])


def _empty_hu(cells_hu: FloatArray) -> float:
    """Return the HU below which air holds no lung, from the air at the border of the pictures."""
    edge = np.concatenate([cells_hu[:, [0, -1]].ravel(), cells_hu[:, :, [0, -1]].ravel()])
    air = edge[edge < CERTAINLY_AIR_HU]
    outside_hu = float(np.median(air)) if air.size > 0.05 * edge.size else EMPTY_HU[0] - ABOVE_OUTSIDE_AIR_HU
    return float(np.clip(outside_hu + ABOVE_OUTSIDE_AIR_HU, *EMPTY_HU))


def _empty_air(empty: BoolArray, cell_mm2: float) -> BoolArray:
    """Mark the air around the body and large regions of gas within."""
    regions, n_regions = ndimage.label(empty, _IN_PLANE)
    size_mm2 = np.bincount(regions.ravel(), minlength=n_regions + 1) * cell_mm2
    is_gas = (_at_border(regions, n_regions) & (size_mm2 > LEAST_OUTSIDE_MM2)) | (size_mm2 > LARGEST_GAS_MM2)
    is_gas[0] = False
    return np.asarray(is_gas[regions])


def _at_border(regions: _Labels, n_regions: int) -> BoolArray:
    """Return which regions touch the border of their slice."""
    touches = np.zeros(n_regions + 1, bool)
    for border in (regions[:, 0], regions[:, -1], regions[:, :, 0], regions[:, :, -1]):
        touches[border.ravel()] = True
    return touches


def _lies_inside_body(gas: BoolArray) -> BoolArray:
    """Return which slices show no air around the body."""
    borders = np.concatenate([gas[:, 0], gas[:, -1], gas[:, :, 0], gas[:, :, -1]], axis=1)
    return np.asarray(borders.mean(1) < INSIDE_BODY)


def _sides_with_body(body: BoolArray) -> npt.NDArray[np.int8]:
    """Count for every cell in how many of the four directions of its slice there is body."""
    n_sides = np.zeros(body.shape, np.int8)
    for axis in (1, 2):
        n_sides += np.maximum.accumulate(body, axis)
        n_sides += np.flip(np.maximum.accumulate(np.flip(body, axis), axis), axis)
    return n_sides
