"""The phantom is what it says: volumes, laterality, densities, repeatability."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from lungct.records import LEFT_LOBES, RIGHT_LOBES, Lobe
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.opacities import Opacity, OpacityKind
from lungct_research.synthesis.phantom.thorax import Phantom, make_thorax

ISOTROPIC_4_MM = (4.0, 4.0, 4.0)
LITRES = (3.3, 7.3)
SHARES = {
    Lobe.LEFT_UPPER: 0.24,
    Lobe.LEFT_LOWER: 0.23,
    Lobe.RIGHT_UPPER: 0.18,
    Lobe.RIGHT_MIDDLE: 0.09,
    Lobe.RIGHT_LOWER: 0.26,
}
GROUND_GLASS = Opacity("ground_glass", Lobe.RIGHT_LOWER, volume_ml=90.0)
CONSOLIDATION = Opacity("consolidation", Lobe.LEFT_LOWER, volume_ml=60.0)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """A healthy person, 4 mm voxels, no noise."""
    return make_thorax(11, ISOTROPIC_4_MM, noise_hu=0)


@pytest.fixture(scope="module")
def diseased() -> Phantom:
    """The same person with two opacities."""
    return make_thorax(11, ISOTROPIC_4_MM, opacities=(GROUND_GLASS, CONSOLIDATION), noise_hu=0)


def centre(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Mean index of a mask along slices, rows, columns."""
    return np.asarray(np.argwhere(mask).mean(axis=0))


def test_default_grid_holds_the_whole_thorax() -> None:
    phantom = make_thorax(1, (10.0, 5.6, 5.6))
    assert phantom.volume_hu.dtype == np.int16
    assert phantom.volume_hu.shape == (32, 64, 64)
    faces = (phantom.lobes[[0, -1]], phantom.lobes[:, [0, -1]], phantom.lobes[:, :, [0, -1]])
    assert not any(face.any() for face in faces)


def test_shape_is_obeyed() -> None:
    assert make_thorax(1, (8.0, 8.0, 8.0), shape=(30, 40, 48)).lobes.shape == (30, 40, 48)


def test_same_seed_same_voxels_another_seed_another_person() -> None:
    first, again, other = (make_thorax(seed, (10.0, 8.0, 8.0), disease=Disease.COVID19) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.volume_hu, again.volume_hu)
    np.testing.assert_array_equal(first.opacity, again.opacity)
    assert (first.lobes != other.lobes[: len(first.lobes)]).mean() > 0.02


@pytest.mark.parametrize("seed", range(4))
def test_lung_volume_and_lobe_shares_are_anatomical(seed: int) -> None:
    ml = make_thorax(seed, (8.0, 6.0, 6.0)).lobe_ml
    total = sum(ml.values())
    assert LITRES[0] * 1000 < total < LITRES[1] * 1000
    for lobe, share in SHARES.items():
        assert ml[lobe] / total == pytest.approx(share, abs=0.05), lobe


@pytest.mark.parametrize("seed", [5])
def test_lobe_volumes_do_not_depend_on_the_spacing(seed: int) -> None:
    coarse = make_thorax(seed, (5.0, 4.0, 4.0)).lobe_ml
    fine = make_thorax(seed, (3.0, 2.6, 2.6)).lobe_ml
    for lobe in Lobe:
        assert coarse[lobe] == pytest.approx(fine[lobe], rel=0.03), lobe


@pytest.mark.parametrize("seed", [12, 13])
def test_each_lobe_is_one_piece(seed: int) -> None:
    lobes = make_thorax(seed, ISOTROPIC_4_MM).lobes
    for lobe in Lobe:
        pieces, _ = ndimage.label(lobes == lobe.label, np.ones((3, 3, 3)))
        sizes = np.bincount(pieces.ravel())[1:]
        assert sizes.max() / sizes.sum() > 0.985, (lobe, sizes)


def test_left_lobes_lie_at_larger_columns(phantom: Phantom) -> None:
    left = max(centre(phantom.lobes == lobe.label)[2] for lobe in RIGHT_LOBES)
    right = min(centre(phantom.lobes == lobe.label)[2] for lobe in LEFT_LOBES)
    assert left < phantom.lobes.shape[2] / 2 < right


def test_upper_lobes_are_cranial_and_anterior_of_lower_lobes(phantom: Phantom) -> None:
    for upper, lower in ((Lobe.LEFT_UPPER, Lobe.LEFT_LOWER), (Lobe.RIGHT_UPPER, Lobe.RIGHT_LOWER)):
        above, below = centre(phantom.lobes == upper.label), centre(phantom.lobes == lower.label)
        assert above[0] > below[0]
        assert above[1] < below[1]
    middle = centre(phantom.lobes == Lobe.RIGHT_MIDDLE.label)
    assert middle[0] < centre(phantom.lobes == Lobe.RIGHT_UPPER.label)[0]
    assert middle[1] < centre(phantom.lobes == Lobe.RIGHT_LOWER.label)[1]


def test_densities_are_plausible(phantom: Phantom) -> None:
    hu, lungs = phantom.volume_hu, phantom.lobes > 0
    assert np.median(hu[:, :3]) == pytest.approx(-1000, abs=5)
    assert -920 < np.median(hu[lungs]) < -780
    assert np.median(hu[(phantom.airways > 0) & ~lungs]) < -850
    assert np.mean(hu[(phantom.vessels > 0) & lungs]) > -650
    assert (hu > 250).mean() > 0.003
    soft_tissue = ndimage.binary_dilation(lungs, iterations=3) & ~ndimage.binary_dilation(lungs, iterations=2)
    assert -150 < np.median(hu[soft_tissue]) < 100


def test_trachea_is_not_lung(phantom: Phantom) -> None:
    central = (phantom.airways > 0) & (phantom.lobes == 0)
    top = np.argwhere(central)[:, 0].max()
    assert top > np.argwhere(phantom.lobes)[:, 0].max()
    assert central.sum() * phantom.voxel_ml > 20


def test_bronchi_hang_on_the_trachea_generation_by_generation() -> None:
    generations = make_thorax(3, (2.0, 1.0, 1.0)).generations
    for deepest in range(6):
        tree = (generations >= 0) & (generations <= deepest)
        pieces, _ = ndimage.label(tree, np.ones((3, 3, 3)))
        assert np.bincount(pieces[tree]).max() > 0.99 * np.count_nonzero(tree), deepest


def test_opacities_have_the_asked_volume_in_the_asked_lobe(diseased: Phantom, phantom: Phantom) -> None:
    assert diseased.opacity_ml[Lobe.RIGHT_LOWER] == pytest.approx(90.0, abs=diseased.voxel_ml)
    assert diseased.opacity_ml[Lobe.LEFT_LOWER] == pytest.approx(60.0, abs=diseased.voxel_ml)
    assert sum(diseased.opacity_ml.values()) == pytest.approx(150.0, abs=2 * diseased.voxel_ml)
    np.testing.assert_array_equal(diseased.lobes, phantom.lobes)


def test_opacities_have_their_density_and_the_rest_is_untouched(diseased: Phantom, phantom: Phantom) -> None:
    inside = ndimage.binary_erosion(diseased.opacity) & (diseased.vessels == 0)
    glass = inside & (diseased.lobes == Lobe.RIGHT_LOWER.label)
    dense = inside & (diseased.lobes == Lobe.LEFT_LOWER.label)
    assert -720 < np.median(diseased.volume_hu[glass]) < -480
    assert -120 < np.median(diseased.volume_hu[dense]) < 60
    far = ~ndimage.binary_dilation(diseased.opacity, iterations=4)
    np.testing.assert_allclose(diseased.volume_hu[far], phantom.volume_hu[far], atol=1)


def test_a_nodule_has_the_volume_asked_for() -> None:
    nodule = Opacity("nodule", Lobe.LEFT_UPPER, volume_ml=4.2, peripheral=False)
    phantom = make_thorax(6, (2.5, 2.5, 2.5), opacities=(nodule,))
    assert phantom.opacity_ml[Lobe.LEFT_UPPER] == pytest.approx(4.2, rel=0.04)


@pytest.mark.parametrize("kind", ["crazy_paving", "reversed_halo", "band"])
def test_every_kind_makes_its_lobe_denser(kind: OpacityKind, phantom: Phantom) -> None:
    seen = make_thorax(
        11, ISOTROPIC_4_MM, opacities=(Opacity(kind, Lobe.RIGHT_UPPER, volume_ml=25),), noise_hu=0
    )
    mask = seen.opacity > 0
    assert (seen.lobes[mask] == Lobe.RIGHT_UPPER.label).all()
    assert seen.volume_hu[mask].mean() > phantom.volume_hu[mask].mean() + 100


def test_peripheral_opacities_lie_nearer_the_pleura() -> None:
    depth = {}
    for peripheral in (True, False):
        opacity = Opacity("ground_glass", Lobe.RIGHT_LOWER, volume_ml=20, peripheral=peripheral)
        phantom = make_thorax(7, (6.0, 6.0, 6.0), opacities=(opacity,))
        below = ndimage.distance_transform_edt(phantom.lobes > 0)
        depth[peripheral] = below[phantom.opacity > 0].mean()
    assert depth[True] < depth[False]


def test_patterns_draw_disease_or_none() -> None:
    covid, pneumonia, normal = (make_thorax(2, (8.0, 8.0, 8.0), disease=disease) for disease in Disease)
    assert sum(ml > 0 for ml in covid.opacity_ml.values()) >= 2
    assert sum(pneumonia.opacity_ml.values()) > 10
    assert not normal.opacity.any()


def test_noise_has_the_asked_strength(phantom: Phantom) -> None:
    noisy = make_thorax(11, ISOTROPIC_4_MM, noise_hu=20)
    liver = np.zeros(noisy.lobes.shape, np.bool_)
    liver[4:14, 40:50, 25:35] = True
    difference = noisy.volume_hu[liver].astype(float) - phantom.volume_hu[liver]
    assert difference.std() == pytest.approx(20, rel=0.2)


def test_a_lobe_without_room_is_named() -> None:
    huge = Opacity("consolidation", Lobe.RIGHT_MIDDLE, volume_ml=3000)
    with pytest.raises(ValueError, match=r"3000\.0 ml asked for, right_middle has"):
        make_thorax(1, (8.0, 8.0, 8.0), opacities=(huge,))


@pytest.mark.parametrize("volume_ml", [0.0, -1.0])
def test_an_opacity_needs_a_positive_volume(volume_ml: float) -> None:
    with pytest.raises(ValueError, match="give a positive volume"):
        Opacity("nodule", Lobe.LEFT_UPPER, volume_ml)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="'fog'"):
        Opacity("fog", Lobe.LEFT_UPPER, volume_ml=1.0)  # type: ignore[arg-type]
