"""The trachea is no part of the lungs, whatever a network says."""

from __future__ import annotations

import numpy as np
import pytest

from lungct.anatomy.airways import segment_airways
from lungct.anatomy.trachea import take_out_trachea
from lungct.records import Lobe
from tests.lungct.anatomy.drawn_chest import AIR_HU, LUNG_HU, drawn_chest, volume_of

SPACING_MM = (1.5, 1.5, 1.5)
LOWEST_SLICE = 50
"""Below it the drawn trachea forks."""


@pytest.fixture
def chest() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU, lobes that hold the trachea, and what is the trachea."""
    volume_hu, lobes, lumen = drawn_chest()
    trachea = lumen & (lobes == 0)
    trachea[:LOWEST_SLICE] = False
    lobes[trachea] = Lobe.RIGHT_UPPER.label
    return volume_hu, lobes, trachea


def test_trachea_is_taken_out_of_the_lobes(chest: tuple[np.ndarray, ...]) -> None:
    volume_hu, lobes, trachea = chest
    kept, _ = take_out_trachea(volume_of(volume_hu, SPACING_MM), lobes)
    assert np.count_nonzero(kept[trachea]) < 0.02 * np.count_nonzero(trachea)


def test_lungs_stay_whole(chest: tuple[np.ndarray, ...]) -> None:
    volume_hu, lobes, trachea = chest
    kept, _ = take_out_trachea(volume_of(volume_hu, SPACING_MM), lobes)
    assert np.array_equal(kept[~trachea], lobes[~trachea])


def test_lobes_without_a_trachea_between_them_are_left_alone() -> None:
    volume_hu, lobes, lumen = drawn_chest()
    volume_hu[lumen & (lobes == 0)] = 40
    kept, trachea = take_out_trachea(volume_of(volume_hu, SPACING_MM), lobes)
    assert kept is lobes
    assert trachea is None


def test_lung_that_reaches_between_the_others_is_no_trachea(chest: tuple[np.ndarray, ...]) -> None:
    """As a lung does that has taken the place of one that is gone: round, in the middle, but no darker."""
    volume_hu, lobes, _ = chest
    volume_hu[volume_hu < (AIR_HU + LUNG_HU) / 2] = LUNG_HU
    kept, _ = take_out_trachea(volume_of(volume_hu, SPACING_MM), lobes)
    assert np.array_equal(kept, lobes)


def test_airways_grown_from_the_trachea_that_was_taken_out_are_the_same(
    chest: tuple[np.ndarray, ...],
) -> None:
    volume_hu, lobes, _ = chest
    volume = volume_of(volume_hu, SPACING_MM)
    kept, trachea = take_out_trachea(volume, lobes)
    assert trachea is not None
    again, known = segment_airways(volume, kept), segment_airways(volume, kept, trachea)
    assert np.count_nonzero(again != known) < 0.02 * np.count_nonzero(again)
