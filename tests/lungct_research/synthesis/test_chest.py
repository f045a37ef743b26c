"""Synthetic chests around given lobes: what is painted is where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from lungct.records import Lobe
from lungct_research.synthesis.chest import AIRWAY_BIT, SyntheticChest, make_chest
from lungct_research.synthesis.fields import signed_depth_mm
from lungct_research.synthesis.phantom.thorax import make_thorax
from lungct_research.synthesis.scanner import scan
from lungct_research.synthesis.vessels import vessel_share

SPACING_MM = (3.0, 3.0, 3.0)


@pytest.fixture(scope="module")
def anatomy() -> np.ndarray:
    """Lobes and airways of a phantom, coded as those of the experts."""
    phantom = make_thorax(3, (1.5, 1.5, 1.5))
    codes = phantom.lobes | (AIRWAY_BIT * phantom.airways)
    occupied = np.nonzero(phantom.lobes.any(axis=(1, 2)))[0]
    return codes[occupied[0] : occupied[-1] + 1]


def with_effusion(anatomy: np.ndarray, share: float) -> SyntheticChest:
    return make_chest(anatomy, np.random.default_rng(5), SPACING_MM, effusion_share=share)


def test_lungs_are_darker_than_what_surrounds_them_and_airways_are_air(anatomy: np.ndarray) -> None:
    chest = make_chest(anatomy, np.random.default_rng(0), SPACING_MM)
    assert set(np.unique(chest.lobes)) == {0, *(lobe.label for lobe in Lobe)}
    assert np.median(chest.volume_hu[chest.lobes > 0]) < -650
    near = (signed_depth_mm(chest.lobes > 0, SPACING_MM) < -3) & (
        signed_depth_mm(chest.lobes > 0, SPACING_MM) > -9
    )
    assert np.median(chest.volume_hu[near & ~chest.airways]) > -150
    trachea = chest.airways & (chest.lobes == 0)
    assert np.median(chest.volume_hu[trachea]) < -800


def test_same_seed_makes_the_same_chest(anatomy: np.ndarray) -> None:
    one, other = (make_chest(anatomy, np.random.default_rng(7), SPACING_MM) for _ in range(2))
    assert np.array_equal(one.volume_hu, other.volume_hu)


def test_effusion_takes_lung_away_at_the_back_of_one_side(anatomy: np.ndarray) -> None:
    dry, wet = (with_effusion(anatomy, share) for share in (0.0, 1.0))
    fluid = (dry.lobes > 0) & (wet.lobes == 0)
    assert fluid.any()
    assert not ((wet.lobes > 0) & (wet.lobes != dry.lobes)).any()
    assert -20 < np.median(wet.volume_hu[fluid]) < 60
    left = dry.lobes[fluid] <= Lobe.LEFT_LOWER.label
    assert left.all() or not left.any()
    rows_of_lung, rows_of_fluid = (np.nonzero(mask)[1] for mask in (dry.lobes > 0, fluid))
    assert rows_of_fluid.mean() > rows_of_lung.mean()


def test_vessels_taper_from_the_hilum_and_stay_inside_their_lobe(anatomy: np.ndarray) -> None:
    lobes, airways = anatomy[::2, ::2, ::2] % AIRWAY_BIT, anatomy[::2, ::2, ::2] >= AIRWAY_BIT
    depth_mm = signed_depth_mm(lobes > 0, SPACING_MM)
    share = vessel_share(np.random.default_rng(1), lobes, airways, depth_mm, SPACING_MM)
    assert not share[lobes == 0].any()
    assert 0.02 < share[lobes > 0].mean() < 0.12
    deep, shallow = (depth_mm > 25) & (lobes > 0), (depth_mm > 0) & (depth_mm < 8)
    assert share[deep].mean() > 2 * share[shallow].mean()


def test_scanner_keeps_the_mean_density() -> None:
    body = np.full((24, 24, 24), -1000, np.float32)
    body[6:18, 6:18, 6:18] = 40
    for seed in range(8):
        seen = scan(body.copy(), np.random.default_rng(seed), SPACING_MM)
        assert abs(seen[9:15, 9:15, 9:15].mean() - 40) < 60
        assert abs(seen[:3].mean() + 1000) < 40
