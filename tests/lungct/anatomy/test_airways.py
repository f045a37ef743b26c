"""The airway tree on phantoms, and what must not be taken for it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lungct.anatomy.airways import segment_airways
from lungct_research.benchmarks.trees import dice_down_to
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.thorax import Phantom, make_thorax
from tests.lungct.anatomy.drawn_chest import AIR_HU, drawn_chest, volume_of


@pytest.fixture(scope="module")
def thorax() -> Phantom:
    return make_thorax(3, (2.0, 1.0, 1.0), disease=Disease.COVID19)


@pytest.fixture(scope="module")
def found(thorax: Phantom) -> np.ndarray:
    return segment_airways(volume_of(thorax.volume_hu, thorax.spacing_mm), thorax.lobes) > 0


def test_tree_of_the_phantom_is_found_down_to_the_segmental_bronchi(
    found: np.ndarray, thorax: Phantom
) -> None:
    assert dice_down_to(thorax, found, 3) >= 0.85


def test_segmental_bronchi_themselves_are_found(found: np.ndarray, thorax: Phantom) -> None:
    """Trachea and main bronchi are most of the volume and alone would give that Dice."""
    segmental = thorax.generations == 3
    assert np.count_nonzero(found & segmental) >= 0.7 * np.count_nonzero(segmental)


def test_trachea_and_both_main_bronchi_down_to_the_lobes_are_found(
    found: np.ndarray, thorax: Phantom
) -> None:
    truth = (thorax.airways > 0) & (thorax.lobes == 0)
    middle = truth.shape[2] // 2
    for half in (np.s_[..., :middle], np.s_[..., middle:]):
        assert np.count_nonzero(found[half] & truth[half]) >= 0.9 * np.count_nonzero(truth[half])


def test_nothing_leaks_out_of_the_phantoms_airways(found: np.ndarray, thorax: Phantom) -> None:
    near = ndimage.binary_dilation(thorax.airways, np.ones((3, 3, 3)))
    assert np.count_nonzero(found & ~near) < 0.02 * np.count_nonzero(found)


def test_bronchus_is_followed_into_the_lung() -> None:
    volume_hu, lobes, lumen = drawn_chest()
    found = segment_airways(volume_of(volume_hu, (1.5, 1.5, 1.5)), lobes) > 0
    inside = lumen & (lobes > 0)
    assert np.count_nonzero(found & inside) >= 0.7 * np.count_nonzero(inside)
    assert not (found & ~ndimage.binary_dilation(lumen, np.ones((3, 3, 3)))).any()


def test_hole_in_the_wall_does_not_flood_the_lung() -> None:
    volume_hu, lobes, lumen = drawn_chest(gap=slice(24, 30))
    found = segment_airways(volume_of(volume_hu, (1.5, 1.5, 1.5)), lobes) > 0
    leak = found & ~ndimage.binary_dilation(lumen, np.ones((3, 3, 3)))
    assert np.count_nonzero(found & lumen) >= 0.8 * np.count_nonzero(lumen & (lobes == 0))
    assert np.count_nonzero(leak) < 0.02 * np.count_nonzero(found)


def test_without_a_trachea_nothing_is_found() -> None:
    volume_hu, lobes, lumen = drawn_chest()
    volume_hu[ndimage.binary_dilation(lumen, iterations=2) & (lobes == 0)] = 40
    assert not segment_airways(volume_of(volume_hu, (1.5, 1.5, 1.5)), lobes).any()


def test_column_of_air_far_from_the_middle_is_no_trachea() -> None:
    volume_hu, lobes, lumen = drawn_chest()
    volume_hu[lumen] = 40
    volume_hu[20:90, 60:67, 100:107] = AIR_HU
    assert not segment_airways(volume_of(volume_hu, (1.5, 1.5, 1.5)), lobes).any()


def test_gas_in_the_bowel_is_no_trachea() -> None:
    volume_hu, lobes, lumen = drawn_chest()
    volume_hu[lumen] = 40
    volume_hu[2:24, 30:38, 50:58] = AIR_HU
    assert not segment_airways(volume_of(volume_hu, (1.5, 1.5, 1.5)), lobes).any()


def test_without_lobes_nothing_is_found() -> None:
    volume_hu, lobes, _ = drawn_chest()
    airways = segment_airways(volume_of(volume_hu, (1.5, 1.5, 1.5)), np.zeros_like(lobes))
    assert airways.dtype == np.uint8
    assert airways.shape == volume_hu.shape
    assert not airways.any()


@pytest.mark.parametrize("part", [np.s_[:60], np.s_[40:], np.s_[30:60], np.s_[45:46], np.s_[:, 30:40]])
def test_truncated_chest_is_no_error(part: tuple[slice, ...]) -> None:
    volume_hu, lobes, lumen = drawn_chest()
    found = segment_airways(volume_of(volume_hu[part], (1.5, 1.5, 1.5)), lobes[part]) > 0
    near = ndimage.binary_dilation(lumen, np.ones((3, 3, 3)))[part]
    assert np.count_nonzero(found & ~near) <= 0.02 * np.count_nonzero(found)
