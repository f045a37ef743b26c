import numpy as np
import pytest

from training.lesions import Host, Pattern, add_dependent_atelectasis, add_infection
from training.synthesis import make_chest

SPACING_MM = (4.0, 3.0, 3.0)


@pytest.fixture
def host() -> Host:
    """Two boxes of lung at -850 HU with a dense rod, a vessel, in one of them."""
    volume_hu = np.full((24, 40, 60), 40.0, np.float32)
    lungs = np.zeros(volume_hu.shape, np.uint8)
    lungs[2:22, 6:34, 5:26] = 3
    lungs[2:22, 6:34, 34:55] = 1
    volume_hu[lungs > 0] = -850.0
    volume_hu[2:22, 18:20, 12:14] = 40.0
    volume_hu += np.random.default_rng(0).normal(0, 5, volume_hu.shape).astype(np.float32)
    return Host(volume_hu, lungs, np.zeros(lungs.shape, bool), SPACING_MM)


@pytest.mark.parametrize("pattern", list(Pattern))
def test_only_the_painted_lung_changes_and_the_mask_marks_it(host: Host, pattern: Pattern) -> None:
    for seed in range(4):
        volume_hu, mask = add_infection(host, np.random.default_rng(seed), pattern)
        change_hu = volume_hu - host.volume_hu
        assert mask.any()
        assert not mask[host.lungs == 0].any()
        aerated = mask & (host.volume_hu < -800)
        assert np.median(change_hu[aerated]) > 60
        assert np.abs(change_hu[host.lungs == 0]).mean() < 1


def test_vessels_and_host_noise_stay(host: Host) -> None:
    volume_hu, mask = add_infection(host, np.random.default_rng(3), Pattern.COVID)
    vessel = np.zeros(mask.shape, bool)
    vessel[2:22, 18:20, 12:14] = True
    assert (
        np.abs(volume_hu - host.volume_hu)[vessel].mean()
        < 0.3 * np.abs(volume_hu - host.volume_hu)[mask & ~vessel].mean() + 150
    )
    assert volume_hu.max() < 300


def test_airway_lumen_stays_open(host: Host) -> None:
    lumen = np.zeros(host.lungs.shape, bool)
    lumen[:, 10:12] = host.lungs[:, 10:12] > 0
    with_airways = Host(np.where(lumen, np.float32(-1000), host.volume_hu), host.lungs, lumen, SPACING_MM)
    volume_hu, mask = add_infection(with_airways, np.random.default_rng(1), Pattern.OTHER)
    assert not mask[lumen].any()
    assert np.array_equal(volume_hu[lumen], with_airways.volume_hu[lumen])


def test_the_seed_decides_everything(host: Host) -> None:
    first, again = (add_infection(host, np.random.default_rng(5), Pattern.COVID) for _ in range(2))
    other = add_infection(host, np.random.default_rng(6), Pattern.COVID)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


def test_atelectasis_lies_at_the_back(host: Host) -> None:
    change_hu = add_dependent_atelectasis(host, np.random.default_rng(0)) - host.volume_hu
    assert change_hu[:, 33][host.lungs[:, 33] > 0].mean() > 20
    assert change_hu[:, 6:20].max() == 0


def test_a_synthetic_chest_keeps_its_lobes_and_repeats_with_its_seed() -> None:
    anatomy = np.zeros((60, 50, 70), np.uint8)
    anatomy[8:50, 8:42, 6:30] = 5
    anatomy[30:50, 8:42, 6:30] = 3
    anatomy[8:50, 8:42, 42:64] = 1
    anatomy[25:, 20:25, 34:38] = 16
    first, again = (make_chest(anatomy, np.random.default_rng(2), SPACING_MM) for _ in range(2))
    assert np.array_equal(first.volume_hu, again.volume_hu)
    assert set(np.unique(first.lobes)) == {0, 1, 3, 5}
    assert first.volume_hu[first.lobes > 0].mean() < -600
    assert first.volume_hu[first.airways].mean() < -600
    assert not first.lobes[first.airways].any()
