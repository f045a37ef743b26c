"""Order, distances and grid of slices, for any orientation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungct.dicom_read.slice_grid import MAX_GAP_MM, even_grid, slice_normal, sort_slices
from lungct.errors import GeometryError
from lungct.records import Series, SliceHeader

_ANGLES = st.tuples(*[st.floats(-np.pi, np.pi)] * 3)
_GAPS = st.floats(0.3, 4.9)


def _rotation(angles: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        plane = np.ix_([axis, (axis + 1) % 3], [axis, (axis + 1) % 3])
        turn[plane] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        rotation = turn @ rotation
    return rotation


def _series(distances_mm: Any, rotation: Any = None, **changes: Any) -> Series:
    """Slices at these distances along the normal, in this order."""
    rotation = np.eye(3) if rotation is None else rotation
    origin = np.array([-120.0, -90.0, 40.0])
    slices = tuple(
        SliceHeader(
            path=Path(f"{number}.dcm"),
            instance_number=number,
            rows=64,
            columns=48,
            position_mm=tuple(origin + rotation[:, 2] * distance),
            orientation=tuple(rotation[:, :2].T.ravel()),
            pixel_spacing_mm=(0.8, 0.6),
            image_type=("ORIGINAL",),
            name=f"{number}.dcm",
        )
        for number, distance in enumerate(distances_mm)
    )
    return replace(Series("", "", "CT", slices), **changes)


@given(angles=_ANGLES)
def test_normal_is_row_direction_cross_column_direction(angles: tuple[float, float, float]) -> None:
    rotation = _rotation(angles)
    assert np.allclose(slice_normal(rotation[:, :2].T.ravel()), rotation[:, 2])


@given(angles=_ANGLES, order=st.permutations(range(9)), spacing_mm=_GAPS)
def test_slices_ascend_along_the_normal_whatever_their_order(
    angles: tuple[float, float, float], order: list[int], spacing_mm: float
) -> None:
    stack = sort_slices(_series([place * spacing_mm for place in order], _rotation(angles)))
    assert [order[image.instance_number or 0] for image in stack.slices] == list(range(9))
    assert np.allclose(np.diff(stack.distances_mm), spacing_mm)
    assert np.abs(stack.shifts_mm).max() < 1e-6


@given(angles=_ANGLES, spacing_mm=_GAPS, index=st.tuples(*[st.integers(0, 40)] * 2))
def test_affine_agrees_with_the_dicom_equation(
    angles: tuple[float, float, float], spacing_mm: float, index: tuple[int, int]
) -> None:
    """PS3.3 C.7.6.2.1.1: position + column index x spacing x row direction + row index x ..."""
    stack = sort_slices(_series(np.arange(5) * spacing_mm, _rotation(angles)))
    affine = stack.affine_lps(even_grid(stack).spacing_mm, np.zeros(2))
    for place, image in enumerate(stack.slices):
        row_direction, column_direction = np.reshape(image.orientation, (2, 3))
        expected = image.position_mm + 0.6 * index[1] * row_direction + 0.8 * index[0] * column_direction
        assert np.allclose((affine @ (place, *index, 1))[:3], expected, atol=1e-6)


@given(angles=_ANGLES)
def test_affine_is_right_handed_in_slice_column_row_order(angles: tuple[float, float, float]) -> None:
    stack = sort_slices(_series([0, 1, 2], _rotation(angles)))
    slices, rows, columns = stack.affine_lps(1.0, np.zeros(2))[:3, :3].T
    assert np.dot(np.cross(columns, rows), slices) > 0


@given(spacing_mm=_GAPS, jitter=st.lists(st.floats(-0.4, 0.4), min_size=8, max_size=8))
def test_rounding_of_positions_leaves_the_grid_even(spacing_mm: float, jitter: list[float]) -> None:
    noise = np.array(jitter) * 0.01 * spacing_mm
    assert even_grid(sort_slices(_series(np.arange(8) * spacing_mm + noise))).is_even


@given(missing=st.sets(st.integers(1, 10), min_size=1, max_size=4))
def test_missing_slices_are_counted(missing: set[int]) -> None:
    places = [place for place in range(12) if place not in missing]
    grid = even_grid(sort_slices(_series(places)))
    assert (grid.n_slices, grid.n_missing, grid.is_even) == (12, len(missing), False)
    assert grid.spacing_mm == pytest.approx(1.0)


@given(gaps_mm=st.lists(st.floats(2.5, 4.9), min_size=2, max_size=12))
def test_grid_spans_the_stack_exactly(gaps_mm: list[float]) -> None:
    distances_mm = np.cumsum([0, *gaps_mm])
    grid = even_grid(sort_slices(_series(distances_mm)))
    assert (grid.n_slices - 1) * grid.spacing_mm == pytest.approx(distances_mm[-1])


@given(gap_mm=st.floats(MAX_GAP_MM + 0.1, 500))
def test_wide_gap_is_refused_naming_both_sides(gap_mm: float) -> None:
    with pytest.raises(GeometryError, match=r"mm lie between 2\.dcm and 3\.dcm") as caught:
        even_grid(sort_slices(_series([0, 1, 2, 2 + gap_mm])))
    assert caught.value.code == "GAP_TOO_WIDE"


def test_evenly_thick_slices_are_no_gap() -> None:
    assert even_grid(sort_slices(_series([0, 8, 16]))).is_even


@pytest.mark.fault("geometry", "One slice", "exit code 4")
def test_one_slice_is_no_volume() -> None:
    with pytest.raises(GeometryError) as caught:
        even_grid(sort_slices(_series([0])))
    assert caught.value.code == "SINGLE_SLICE"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"rows": 32}, "MIXED_SIZES"),
        ({"pixel_spacing_mm": (0.8, 0.8)}, "MIXED_PIXEL_SPACINGS"),
        ({"orientation": (1, 0, 0, 0, 0, -1)}, "MIXED_ORIENTATIONS"),
        ({"position_mm": None}, "SLICE_WITHOUT_POSITION"),
        ({"orientation": None}, "SLICE_WITHOUT_POSITION"),
        ({"pixel_spacing_mm": None}, "SLICE_WITHOUT_POSITION"),
    ],
)
@pytest.mark.parametrize("odd", [0, 2, 4])
def test_odd_slice_is_refused_by_name(changes: dict[str, Any], code: str, odd: int) -> None:
    series = _series(range(5))
    slices = list(series.slices)
    slices[odd] = replace(slices[odd], **changes)
    with pytest.raises(GeometryError, match=rf"^{odd}\.dcm ") as caught:
        sort_slices(replace(series, slices=tuple(slices)))
    assert caught.value.code == code


@pytest.mark.fault("geometry", "Rows and columns that are not at right angles", "exit code 4")
def test_skewed_rows_and_columns_are_refused() -> None:
    series = _series(range(3))
    skewed = tuple(replace(image, orientation=(1, 0, 0, 0.5, 0.8, 0)) for image in series.slices)
    with pytest.raises(GeometryError) as caught:
        sort_slices(replace(series, slices=skewed))
    assert caught.value.code == "BAD_ORIENTATION"


@pytest.mark.fault("geometry", "A slice far to the side", "exit code 4")
def test_slice_far_to_the_side_is_refused() -> None:
    series = _series(range(5))
    slices = list(series.slices)
    slices[3] = replace(slices[3], position_mm=(900.0, -90.0, 43.0))
    with pytest.raises(GeometryError, match=r"3\.dcm lies 1020 mm to the side of 2\.dcm") as caught:
        even_grid(sort_slices(replace(series, slices=tuple(slices))))
    assert caught.value.code == "SHIFTED_SLICES"


@pytest.mark.parametrize("offset_mm", [0.02, 0.1, 0.3])
@pytest.mark.fault("geometry", "Second acquisition {offset_mm} mm between the slices", "exit code 4")
def test_second_acquisition_between_the_slices_is_refused(offset_mm: float) -> None:
    places = sorted([*range(40), 20 + offset_mm])
    with pytest.raises(GeometryError, match=r"20\.dcm and 21\.dcm lie only") as caught:
        even_grid(sort_slices(_series(places)))
    assert caught.value.code == "INTERLEAVED_SLICES"


@pytest.mark.parametrize("spacing_mm", [0.625, 1.25])
def test_positions_with_one_decimal_are_even(spacing_mm: float) -> None:
    grid = even_grid(sort_slices(_series((np.arange(400) * spacing_mm).round(1))))
    assert (grid.is_even, grid.n_slices) == (True, 400)
    assert grid.spacing_mm == pytest.approx(spacing_mm, rel=1e-3)
