from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from lungct_research.datasets.arrays import FloatArray
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.confounders import (
    CONFOUNDERS,
    add_dependent_atelectasis,
    add_emphysema,
    add_reticulation,
    add_solid_nodules,
)
from lungct_research.synthesis.hosts import with_confounder
from lungct_research.synthesis.lesions import Host, add_infection

Add = Callable[[Host, np.random.Generator], FloatArray]

SPACING_MM = (2.0, 2.0, 2.0)
LUNG_HU = -850.0


@pytest.fixture
def host() -> Host:
    """One box of noisy lung, 80 x 100 x 80 mm, in soft tissue."""
    volume_hu = np.full((50, 60, 50), 40.0, np.float32)
    lungs = np.zeros(volume_hu.shape, np.uint8)
    lungs[5:45, 5:55, 5:45] = 1
    volume_hu[lungs > 0] = LUNG_HU
    volume_hu += np.random.default_rng(0).normal(0, 10, volume_hu.shape).astype(np.float32)
    return Host(volume_hu, lungs, np.zeros(lungs.shape, bool), SPACING_MM)


@pytest.mark.parametrize("add", CONFOUNDERS)
def test_a_confounder_changes_lung_only_and_repeats_with_its_seed(host: Host, add: Add) -> None:
    first, again, other = (add(host, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[host.lungs > 0], host.volume_hu[host.lungs > 0])
    assert np.array_equal(first[host.lungs == 0], host.volume_hu[host.lungs == 0])


@pytest.mark.parametrize("add", CONFOUNDERS)
def test_a_confounder_never_enters_the_mask(host: Host, add: Add) -> None:
    confused = Host(add(host, np.random.default_rng(1)), host.lungs, host.lumen, host.spacing_mm)
    plain, beside = (
        add_infection(chest, np.random.default_rng(4), Disease.COVID19) for chest in (host, confused)
    )
    assert np.array_equal(plain.mask, beside.mask)
    assert np.array_equal(plain.kinds, beside.kinds)


def test_hosts_get_confounders_by_their_share_and_keep_their_lungs(host: Host) -> None:
    changed = 0
    for seed in range(40):
        drawn = with_confounder(host, np.random.default_rng(seed))
        changed += not np.array_equal(drawn.volume_hu, host.volume_hu)
        assert drawn.lungs is host.lungs
    untouched = np.prod([1 - share for share in CONFOUNDERS.values()])
    assert changed / 40 == pytest.approx(1 - untouched, abs=0.2)


def test_atelectasis_lies_at_the_back(host: Host) -> None:
    change_hu = add_dependent_atelectasis(host, np.random.default_rng(0)) - host.volume_hu
    assert change_hu[:, 54][host.lungs[:, 54] > 0].mean() > 20
    assert change_hu[:, 5:35].max() == 0


def test_emphysema_is_darker_than_950_hu_and_apical(host: Host) -> None:
    change_hu = add_emphysema(host, np.random.default_rng(0)) - host.volume_hu
    volume_hu = host.volume_hu + change_hu
    assert change_hu.max() <= 0
    assert np.percentile(volume_hu[host.lungs > 0], 1) < -935
    assert (change_hu[35:45] < -50).sum() > 2 * (change_hu[5:15] < -50).sum()


def test_reticulation_is_a_fine_net_at_base_and_periphery(host: Host) -> None:
    change_hu = add_reticulation(host, np.random.default_rng(0)) - host.volume_hu
    lines = change_hu > 50
    assert lines.any()
    assert 2 * ndimage.distance_transform_edt(lines, sampling=SPACING_MM).max() < 12
    assert lines[5:15].mean() > 2 * lines[35:45].mean()
    assert lines[15:30, 20:40, 5:15].mean() > 2 * lines[15:30, 20:40, 20:30].mean()


def test_solid_nodules_are_few_small_and_as_dense_as_soft_tissue(host: Host) -> None:
    for seed in range(6):
        change_hu = add_solid_nodules(host, np.random.default_rng(seed)) - host.volume_hu
        dense = change_hu > 400
        _, n = ndimage.label(ndimage.binary_dilation(dense))
        assert n <= 3
        assert (host.volume_hu + change_hu).max() < 200
        assert ndimage.distance_transform_edt(dense, sampling=SPACING_MM).max() <= 30 / 2 * 1.6
