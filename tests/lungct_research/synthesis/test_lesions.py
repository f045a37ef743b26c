import numpy as np
import pytest
from scipy import ndimage

from lungct_research.datasets.arrays import FloatArray
from lungct_research.datasets.densities import DENSE_HU, HAZE_HU, SEPTA_HU, SOFT_TISSUE_HU
from lungct_research.datasets.disease import INFECTIONS, Disease
from lungct_research.synthesis.chest import make_chest
from lungct_research.synthesis.lesions import Host, Infection, Kind, add_infection
from lungct_research.synthesis.lesions.kinds import (
    BUD_MM,
    SOFT_BORDER_MM,
    TREE_REACH_MM,
    Lesion,
    draw_kinds,
    draw_lesion,
)
from lungct_research.synthesis.lesions.painting import PLEURA_MM, lesion_weight, paint
from lungct_research.synthesis.lesions.placement import nodule_mm, place_lesions
from lungct_research.synthesis.lesions.shapes import parenchymal_band, subpleural_line, tree_in_bud

SPACING_MM = (4.0, 3.0, 3.0)
LUNG_HU = -850.0
NOISE_HU = 25.0


@pytest.fixture
def host() -> Host:
    """Two boxes of lung at -850 HU with a dense rod, a vessel, in one of them."""
    volume_hu = np.full((24, 40, 60), 40.0, np.float32)
    lungs = np.zeros(volume_hu.shape, np.uint8)
    lungs[2:22, 6:34, 5:26] = 3
    lungs[2:22, 6:34, 34:55] = 1
    volume_hu[lungs > 0] = LUNG_HU
    volume_hu[2:22, 18:20, 12:14] = 40.0
    volume_hu += np.random.default_rng(0).normal(0, 5, volume_hu.shape).astype(np.float32)
    return Host(volume_hu, lungs, np.zeros(lungs.shape, bool), SPACING_MM)


def block(noise_hu: float = 0.0, spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Host:
    """Nothing but lung."""
    noise = np.random.default_rng(1).normal(0, 1, (48, 48, 48)).astype(np.float32)
    lungs = np.ones(noise.shape, np.uint8)
    return Host(LUNG_HU + noise_hu * noise, lungs, np.zeros(lungs.shape, bool), spacing_mm)


def ball_mm(radius_mm: float, n: int = 48) -> FloatArray:
    """Depth inside a ball in the middle of a grid of 1 mm."""
    at = np.indices((n, n, n)) - (n - 1) / 2
    return (radius_mm - np.sqrt((at**2).sum(0))).astype(np.float32)


def painted(host: Host, shape_mm: FloatArray, lesion: Lesion, seed: int = 0) -> FloatArray:
    weight = lesion_weight(shape_mm, lesion.border_mm, host.lumen)
    return paint(host, weight, shape_mm, lesion, np.random.default_rng(seed))


def high_pass_std(volume_hu: FloatArray, where: np.ndarray) -> float:
    """Of what a voxel differs by from the mean of its 3 x 3 x 3 neighbours."""
    return float((volume_hu - ndimage.uniform_filter(volume_hu, 3))[where].std())


@pytest.mark.parametrize("disease", INFECTIONS)
def test_only_the_painted_lung_changes_and_the_mask_marks_it(host: Host, disease: Disease) -> None:
    for seed in range(4):
        volume_hu, mask, _ = add_infection(host, np.random.default_rng(seed), disease)
        change_hu = volume_hu - host.volume_hu
        assert mask.any()
        assert not mask[host.lungs == 0].any()
        aerated = mask & (host.volume_hu < -800)
        assert np.median(change_hu[aerated]) > 60
        assert np.abs(change_hu[host.lungs == 0]).mean() < 1


@pytest.mark.parametrize("disease", INFECTIONS)
def test_far_from_the_mask_nothing_changes_at_all(host: Host, disease: Disease) -> None:
    volume_hu, mask, _ = add_infection(host, np.random.default_rng(3), disease)
    from_mask_mm = ndimage.distance_transform_edt(~mask, sampling=SPACING_MM)
    far = from_mask_mm > 2 * SOFT_BORDER_MM[1] + PLEURA_MM
    assert far.sum() > 1000
    assert np.array_equal(volume_hu[far], host.volume_hu[far])


@pytest.mark.parametrize("kind", list(Kind))
def test_a_lesion_ends_half_a_border_outside_its_surface(kind: Kind) -> None:
    host, shape_mm = block(NOISE_HU), ball_mm(12)
    lesion = Lesion(kind, border_mm=6.0, raise_to_hu=-300.0, ring_mm=3.0)
    change_hu = painted(host, shape_mm, lesion) - host.volume_hu
    assert not change_hu[shape_mm <= -3.0].any()
    assert change_hu[shape_mm > 3.0].min() > 0


@pytest.mark.parametrize("disease", INFECTIONS)
def test_kinds_are_labelled_exactly_where_the_mask_is(host: Host, disease: Disease) -> None:
    seen: set[int] = set()
    for seed in range(12):
        infection = add_infection(host, np.random.default_rng(seed), disease)
        assert np.array_equal(infection.kinds > 0, infection.mask)
        seen |= set(np.unique(infection.kinds).tolist()) - {0}
    assert {Kind.GROUND_GLASS.label, Kind.CONSOLIDATION.label} < seen
    assert seen <= {kind.label for kind in Kind}


@pytest.mark.parametrize("kind", list(Kind))
def test_one_kind_alone_may_be_painted(host: Host, kind: Kind) -> None:
    for seed in range(3):
        infection = add_infection(host, np.random.default_rng(seed), Disease.OTHER_INFECTION, kind)
        assert set(np.unique(infection.kinds)) <= {0, kind.label}
        assert infection.mask.any()


def test_denser_kinds_cover_hazy_ones(host: Host) -> None:
    depth_mm = np.zeros(host.lungs.shape, np.float32)
    for seed in range(5):
        placed = place_lesions(host, np.random.default_rng(seed), Disease.COVID19, depth_mm)
        labels = [kind.label for kind, _, _ in placed]
        assert labels == sorted(labels)


def test_tree_in_bud_speaks_for_another_infection() -> None:
    def count(disease: Disease, kind: Kind) -> int:
        rng = np.random.default_rng(0)
        return sum(kind in draw_kinds(rng, disease, 10) for _ in range(300))

    assert count(Disease.OTHER_INFECTION, Kind.TREE_IN_BUD) > 3 * count(Disease.COVID19, Kind.TREE_IN_BUD)
    assert count(Disease.COVID19, Kind.CRAZY_PAVING) > 2 * count(Disease.OTHER_INFECTION, Kind.CRAZY_PAVING)


@pytest.mark.parametrize("is_additive", [False, True])
@pytest.mark.parametrize(
    ("kind", "raise_to_hu"), [(Kind.GROUND_GLASS, -600.0), (Kind.GROUND_GLASS, -300.0), (Kind.NODULE, 0.0)]
)
def test_the_inside_of_a_lesion_has_the_density_asked_for(
    kind: Kind, raise_to_hu: float, is_additive: bool
) -> None:
    inside = ball_mm(14) > 3
    volume_hu = painted(block(NOISE_HU), ball_mm(14), Lesion(kind, 2.0, raise_to_hu, is_additive))
    assert abs(volume_hu[inside].mean() - raise_to_hu) < 45


@pytest.mark.parametrize("is_additive", [False, True])
@pytest.mark.parametrize("raise_to_hu", [-600.0, -300.0, 0.0])
def test_the_noise_of_the_host_stays(raise_to_hu: float, is_additive: bool) -> None:
    host, inside = block(NOISE_HU), ball_mm(16) > 3
    volume_hu = painted(host, ball_mm(16), Lesion(Kind.GROUND_GLASS, 2.0, raise_to_hu, is_additive))
    assert high_pass_std(volume_hu, inside) == pytest.approx(high_pass_std(host.volume_hu, inside), rel=0.1)


def test_densities_are_drawn_from_the_documented_ranges() -> None:
    rng = np.random.default_rng(0)
    haze = np.array([draw_lesion(rng, Kind.GROUND_GLASS).raise_to_hu for _ in range(500)])
    dense = np.array([draw_lesion(rng, Kind.CONSOLIDATION).raise_to_hu for _ in range(500)])
    assert HAZE_HU[0] <= haze.min() < haze.max() <= HAZE_HU[2]
    assert haze.mean() == pytest.approx(sum(HAZE_HU) / 3, abs=20)
    assert DENSE_HU[0] <= dense.min() < dense.max() <= DENSE_HU[1]


def test_borders_are_hard_and_soft() -> None:
    rng = np.random.default_rng(0)
    borders_mm = np.array([draw_lesion(rng, Kind.CONSOLIDATION).border_mm for _ in range(200)])
    assert 0.3 < (borders_mm < SOFT_BORDER_MM[0]).mean() < 0.7


def test_crazy_paving_has_lines_and_ground_glass_has_none() -> None:
    inside = ball_mm(18) > 3
    paved, plain = (
        painted(block(), ball_mm(18), Lesion(kind, 2.0, -600.0))
        for kind in (Kind.CRAZY_PAVING, Kind.GROUND_GLASS)
    )
    lines = inside & (paved > plain + SEPTA_HU[0] / 2)
    assert 0.03 < lines.sum() / inside.sum() < 0.4
    assert high_pass_std(paved, inside) > 5 * high_pass_std(plain, inside)


def test_a_reversed_halo_is_a_dense_open_ring_around_haze() -> None:
    shape_mm = ball_mm(15)
    volume_hu = painted(block(), shape_mm, Lesion(Kind.REVERSED_HALO, 1.0, -650.0, ring_mm=4.0))
    centre, ring = volume_hu[shape_mm > 5], volume_hu[(shape_mm > 1) & (shape_mm < 3.5)]
    assert np.median(centre) < -550
    assert np.median(ring) > -200
    assert 0.15 < (ring < -500).mean() < 0.35


def test_vessels_look_thicker_where_density_is_added() -> None:
    host = block()
    host.volume_hu[:, 22:26, 22:26] = -400.0
    edge = np.zeros(host.lungs.shape, bool)
    edge[16:32, 22:26, 22:26] = True
    added, multiplied = (
        painted(host, ball_mm(16), Lesion(Kind.GROUND_GLASS, 2.0, -550.0, is_additive))[edge].mean()
        for is_additive in (True, False)
    )
    assert added > multiplied + 50
    assert added < SOFT_TISSUE_HU


def test_bands_are_thin_and_long() -> None:
    fine = block()
    rng, centre_mm = np.random.default_rng(2), np.full(3, 24.0)
    depth_mm = np.broadcast_to(np.arange(48, dtype=np.float32)[:, None, None], (48, 48, 48))
    for shape_mm, box in (
        parenchymal_band(fine, rng, centre_mm),
        subpleural_line(fine, rng, np.array([6.0, 24.0, 24.0]), depth_mm),
    ):
        inside = np.zeros((48, 48, 48), bool)
        inside[box] = shape_mm >= 0
        thickest_mm = 2 * ndimage.distance_transform_edt(inside).max()
        extent = np.ptp(np.argwhere(inside), axis=0).max()
        assert thickest_mm <= 6
        assert extent > 3 * thickest_mm


def test_a_subpleural_line_keeps_its_distance_from_the_pleura() -> None:
    depth_mm = np.broadcast_to(np.arange(48, dtype=np.float32)[:, None, None], (48, 48, 48))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        shape_mm, box = subpleural_line(block(), rng, np.array([6.0, 24.0, 24.0]), depth_mm)
        depths_mm = depth_mm[box][shape_mm >= 0]
        assert depths_mm.max() <= 12
        assert np.ptp(depths_mm) <= 4


def test_tree_in_bud_is_a_branching_piece_of_small_parts() -> None:
    shape_mm, box = tree_in_bud(block(), np.random.default_rng(1), np.full(3, 24.0))
    inside = np.zeros((48, 48, 48), bool)
    inside[box] = shape_mm >= -0.5
    assert ndimage.label(inside, np.ones((3, 3, 3)))[1] == 1
    assert 2 * ndimage.distance_transform_edt(inside).max() <= BUD_MM[1] + 2
    assert np.linalg.norm(np.argwhere(inside) + 0.5 - 24.0, axis=1).max() <= TREE_REACH_MM[1] + BUD_MM[1]
    bounding_box = np.prod(np.ptp(np.argwhere(inside), axis=0) + 1)
    assert inside.sum() < 0.15 * bounding_box


def test_infectious_nodules_are_mostly_acinar() -> None:
    rng = np.random.default_rng(0)
    diameters_mm = np.array([nodule_mm(rng) for _ in range(500)])
    assert 6 < np.median(diameters_mm) < 10
    assert diameters_mm.min() >= 3
    assert diameters_mm.max() <= 20


def test_no_dark_seam_is_left_between_a_filled_lobe_and_the_pleura(host: Host) -> None:
    inside = host.lungs > 0
    seam = ndimage.binary_dilation(inside[10], np.ones((3, 3))) & ~inside[10]
    host.volume_hu[:, seam] = -400.0
    filled = 0
    for seed in range(8):
        volume_hu, _, kinds = add_infection(host, np.random.default_rng(seed), Disease.OTHER_INFECTION)
        dense = kinds == Kind.CONSOLIDATION.label
        if dense.sum() < 0.1 * inside.sum():
            continue
        touched = seam & ndimage.binary_erosion(
            ndimage.binary_dilation(dense[11], np.ones((5, 5))), np.ones((3, 3))
        )
        filled += touched.any()
        assert (volume_hu[11] - host.volume_hu[11])[touched & ~dense[11]].mean() > 50
    assert filled


def test_vessels_stay(host: Host) -> None:
    volume_hu, mask, _ = add_infection(host, np.random.default_rng(3), Disease.COVID19)
    vessel = np.zeros(mask.shape, bool)
    vessel[2:22, 18:20, 12:14] = True
    change_hu = np.abs(volume_hu - host.volume_hu)
    assert change_hu[vessel].mean() < 0.3 * change_hu[mask & ~vessel].mean() + 150
    assert volume_hu.max() < 300


def test_airway_lumen_stays_open(host: Host) -> None:
    lumen = np.zeros(host.lungs.shape, bool)
    lumen[:, 10:12] = host.lungs[:, 10:12] > 0
    with_airways = Host(np.where(lumen, np.float32(-1000), host.volume_hu), host.lungs, lumen, SPACING_MM)
    volume_hu, mask, _ = add_infection(with_airways, np.random.default_rng(1), Disease.OTHER_INFECTION)
    assert not mask[lumen].any()
    assert np.array_equal(volume_hu[lumen], with_airways.volume_hu[lumen])


def test_the_seed_decides_everything(host: Host) -> None:
    def draw(seed: int) -> Infection:
        return add_infection(host, np.random.default_rng(seed), Disease.COVID19)

    first, again, other = draw(5), draw(5), draw(6)
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first.mask, other.mask)


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
