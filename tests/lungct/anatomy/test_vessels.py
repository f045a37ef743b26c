"""Vessels on phantoms and on simple shapes that are vessels or are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from lungct.anatomy.vessels import segment_vessels
from lungct.anatomy.work_grid import measure_narrow_height
from lungct.records import CtVolume, Lobe
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.thorax import make_thorax

SPACING_MM = (1.5, 1.0, 1.0)
SHAPE = (50, 70, 70)


def volume_of(volume_hu: np.ndarray, spacing_mm: tuple[float, float, float] = SPACING_MM) -> CtVolume:
    return CtVolume(volume_hu, np.diag([*spacing_mm, 1.0])[[2, 1, 0, 3]])


def one_lung() -> tuple[np.ndarray, np.ndarray]:
    """A block of noisy lung in tissue with one thick upright vessel; HU and lobes."""
    lobes = np.zeros(SHAPE, np.uint8)
    lobes[3:-3, 10:-10, 10:-10] = Lobe.LEFT_LOWER.label
    volume_hu = np.where(lobes > 0, -860, 40).astype(np.float32)
    volume_hu[3:-3, 15:20, 15:20] = 40
    return volume_hu, lobes


def vessels_of(volume_hu: np.ndarray, lobes: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 12, volume_hu.shape)
    seen = (ndimage.gaussian_filter(volume_hu, (0.5, 0.7, 0.7)) + noise).astype(np.int16)
    return segment_vessels(volume_of(seen), lobes, np.zeros_like(lobes)) > 0


@pytest.mark.parametrize(
    ("seed", "spacing_mm", "disease"),
    [(3, (2.5, 1.0, 1.0), Disease.NO_INFECTION), (5, (2.5, 1.2, 1.2), Disease.COVID19)],
)
def test_vessels_of_the_phantom_are_found(
    seed: int, spacing_mm: tuple[float, float, float], disease: Disease
) -> None:
    thorax = make_thorax(seed, spacing_mm, disease=disease)
    found = segment_vessels(volume_of(thorax.volume_hu, spacing_mm), thorax.lobes, thorax.airways) > 0
    truth = thorax.vessels > 0
    both = np.count_nonzero(found & truth)
    assert both >= 0.7 * np.count_nonzero(truth)
    assert both >= 0.8 * np.count_nonzero(found)
    assert not found[thorax.lobes == 0].any()


def test_thin_vessel_is_found_in_any_direction() -> None:
    for direction in np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]):
        volume_hu, lobes = one_lung()
        along = np.array([25, 40, 40]) + np.arange(-15, 16)[:, None] * direction
        line = np.zeros(SHAPE, bool)
        line[tuple(along.T)] = True
        line = ndimage.binary_dilation(line)
        volume_hu[line] = 40
        found = vessels_of(volume_hu, lobes)
        assert np.count_nonzero(found & line) > 0.7 * np.count_nonzero(line)


def test_fissure_is_no_vessel() -> None:
    volume_hu, lobes = one_lung()
    volume_hu[:, 40, 24:] = -500
    assert not vessels_of(volume_hu, lobes)[:, 38:43, 30:].any()


def test_consolidation_is_no_vessel() -> None:
    volume_hu, lobes = one_lung()
    volume_hu[10:40, 30:55, 30:55] = 20
    found = vessels_of(volume_hu, lobes)[10:40, 30:55, 30:55]
    assert np.count_nonzero(found) < 0.02 * found.size


def test_border_of_the_lung_is_no_vessel() -> None:
    volume_hu, lobes = one_lung()
    found = vessels_of(volume_hu, lobes)
    assert np.count_nonzero(found[:, 25:]) < 0.001 * np.count_nonzero(lobes[:, 25:])


def test_speck_is_no_vessel() -> None:
    volume_hu, lobes = one_lung()
    volume_hu[25:27, 40:43, 40:43] = 40
    assert not vessels_of(volume_hu, lobes)[20:32, 35:48, 35:48].any()


def test_airways_are_left_out() -> None:
    volume_hu, lobes = one_lung()
    airways = np.zeros_like(lobes)
    airways[:, 15:20, 15:20] = 1
    seen = volume_hu.astype(np.int16)
    assert not segment_vessels(volume_of(seen), lobes, airways)[airways > 0].any()


def test_lung_without_any_vessel_stays_empty() -> None:
    volume_hu, lobes = one_lung()
    volume_hu[lobes > 0] = -860
    assert not vessels_of(volume_hu, lobes).any()


def test_without_lobes_nothing_is_found() -> None:
    volume_hu, lobes = one_lung()
    nothing = np.zeros_like(lobes)
    vessels = segment_vessels(volume_of(volume_hu.astype(np.int16)), nothing, nothing)
    assert vessels.dtype == np.uint8
    assert vessels.shape == SHAPE
    assert not vessels.any()


@pytest.mark.parametrize("part", [np.s_[:1], np.s_[:2], np.s_[20:30], np.s_[:, 14:18], np.s_[..., 17:18]])
def test_thin_part_of_a_chest_is_no_error(part: tuple[slice, ...]) -> None:
    volume_hu, lobes = one_lung()
    seen, lobes = volume_hu.astype(np.int16)[part], lobes[part]
    assert segment_vessels(volume_of(seen), lobes, np.zeros_like(lobes)).shape == seen.shape


def test_height_is_that_of_tubes_not_of_sheets() -> None:
    """One millimetre voxels, window of 5 mm: a line of 9 stands out by 9, a plane by nothing."""
    values = torch.zeros(15, 15, 15, dtype=torch.int16)
    values[:, 3, 3] = 9
    values[10] = 9
    height = measure_narrow_height(values, 5.0, (1.0, 1.0, 1.0))
    assert height[5, 3, 3] == 9
    assert not height[10].any()
