"""Solid lung counts only where no air is near."""

from __future__ import annotations

import numpy as np
import pytest

from lungct.anatomy.solid_lung import find_solid_lung
from lungct.records import CtVolume, Lobe

SPACING_MM = (2.5, 2.5, 2.5)


def half_solid(solid_hu: float) -> tuple[CtVolume, np.ndarray]:
    """A right lower lobe of 100 x 50 x 50 mm, air-filled in its upper half."""
    lobes = np.zeros((48, 28, 28), np.uint8)
    lobes[4:44, 4:24, 4:24] = Lobe.RIGHT_LOWER.label
    hu = np.full(lobes.shape, 40, np.int16)
    hu[24:44, 4:24, 4:24] = -850
    hu[4:24, 4:24, 4:24] = solid_hu
    return CtVolume(hu, np.diag([*SPACING_MM, 1.0])[[2, 1, 0, 3]]), lobes


def test_solid_lung_farther_than_12_mm_from_air_is_measured() -> None:
    found = find_solid_lung(*half_solid(40))
    expected_ml = (50 - 12) * 50 * 50 / 1000
    assert found.lobe_ml[Lobe.RIGHT_LOWER] == pytest.approx(expected_ml, rel=0.1)
    assert not found.mask[20:].any()


@pytest.mark.parametrize("hazy_hu", [-600, -300])
def test_hazy_lung_is_not_solid(hazy_hu: float) -> None:
    assert sum(find_solid_lung(*half_solid(hazy_hu)).lobe_ml.values()) == 0


def test_open_bronchi_make_it_lung() -> None:
    volume, lobes = half_solid(40)
    hu = volume.volume_hu.copy()
    hu[4:24, 8:24:8, 8:24:8] = -950
    hu[4:24, 9:24:8, 8:24:8] = -950
    hu[4:24, 8:24:8, 9:24:8] = -950
    hu[4:24, 9:24:8, 9:24:8] = -950
    with_bronchi = find_solid_lung(CtVolume(hu, volume.affine_lps), lobes).lobe_ml[Lobe.RIGHT_LOWER]
    assert with_bronchi < 0.25 * find_solid_lung(volume, lobes).lobe_ml[Lobe.RIGHT_LOWER]


def test_without_lobes_nothing_is_solid() -> None:
    volume, lobes = half_solid(40)
    assert not find_solid_lung(volume, np.zeros_like(lobes)).mask.any()
