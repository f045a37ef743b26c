"""Lobe borders move onto visible fissures and stay elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from lungct.anatomy.fissures import follow_fissures, nearest_label
from lungct.records import Lobe

SPACING_MM = (2.0, 2.0, 2.0)
SHAPE = (50, 40, 40)
FISSURE_SLICE = 25


def two_lobes(border_slice: int) -> np.ndarray:
    """The left lower lobe below the upper one, with background around."""
    lobes = np.zeros(SHAPE, np.uint8)
    lobes[3:border_slice, 3:-3, 3:-3] = Lobe.LEFT_LOWER.label
    lobes[border_slice:-3, 3:-3, 3:-3] = Lobe.LEFT_UPPER.label
    return lobes


def lung_hu(fissure: bool) -> np.ndarray:
    volume_hu = np.random.default_rng(0).normal(-870, 15, SHAPE)
    if fissure:
        volume_hu[FISSURE_SLICE] += 60
    return volume_hu.astype(np.float32)


def border(lobes: np.ndarray) -> float:
    """Mean height of the border away from the edges."""
    return float((lobes[3:, 8:-8, 8:-8] == Lobe.LEFT_LOWER.label).sum(axis=0).mean()) + 3


@pytest.mark.parametrize("offset_slices", [-4, -2, 0, 3])
def test_border_moves_onto_the_fissure(offset_slices: int) -> None:
    moved = follow_fissures(two_lobes(FISSURE_SLICE + offset_slices), lung_hu(fissure=True), SPACING_MM)
    assert border(moved) == pytest.approx(FISSURE_SLICE + 0.5, abs=1)


def test_border_stays_where_no_fissure_is_seen() -> None:
    moved = follow_fissures(two_lobes(FISSURE_SLICE), lung_hu(fissure=False), SPACING_MM)
    assert border(moved) == pytest.approx(FISSURE_SLICE, abs=1)


def test_vessels_do_not_draw_the_border() -> None:
    volume_hu = lung_hu(fissure=False)
    volume_hu[FISSURE_SLICE + 4, ::9] = -200
    moved = follow_fissures(two_lobes(FISSURE_SLICE), volume_hu, SPACING_MM)
    assert border(moved) == pytest.approx(FISSURE_SLICE, abs=1.2)


def test_lungs_neither_grow_nor_shrink() -> None:
    lobes = two_lobes(FISSURE_SLICE + 3)
    moved = follow_fissures(lobes, lung_hu(fissure=True), SPACING_MM)
    assert np.array_equal(moved > 0, lobes > 0)


def test_three_right_lobes_stay_three() -> None:
    lobes = two_lobes(FISSURE_SLICE)
    lobes[lobes == Lobe.LEFT_LOWER.label] = Lobe.RIGHT_LOWER.label
    lobes[lobes == Lobe.LEFT_UPPER.label] = Lobe.RIGHT_UPPER.label
    lobes[FISSURE_SLICE : FISSURE_SLICE + 10, 3:20, 3:-3] = Lobe.RIGHT_MIDDLE.label
    moved = follow_fissures(lobes, lung_hu(fissure=False), SPACING_MM)
    for lobe in (Lobe.RIGHT_UPPER, Lobe.RIGHT_MIDDLE, Lobe.RIGHT_LOWER):
        before, after = ((labels == lobe.label).sum() for labels in (lobes, moved))
        assert after == pytest.approx(before, rel=0.15)


def test_nearest_label_fills_everything() -> None:
    lobes = np.zeros((1, 1, 6), np.uint8)
    lobes[0, 0, 1], lobes[0, 0, 5] = 2, 3
    assert nearest_label(lobes).ravel().tolist() == [2, 2, 2, 2, 3, 3]
