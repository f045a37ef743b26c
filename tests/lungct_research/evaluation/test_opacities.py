import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungct.records import CtVolume, Lobe, LungAnatomy, MaskArray, ModelInfo
from lungct.records.orientation import canonical_volume
from lungct_research.datasets.case import Case
from lungct_research.datasets.disease import Disease
from lungct_research.evaluation import command, opacities
from lungct_research.evaluation.cases import SETS
from lungct_research.evaluation.opacities import (
    Segmenters,
    measure_and_write,
    measure_case,
    measure_set,
    report,
)
from lungct_research.evaluation.opacity_measures import (
    FEWEST_VOXELS,
    dice_by_kind,
    find_classical_opacities,
    measure_scan,
    rank_infected_lobes,
    summarise,
)
from lungct_research.synthesis.lesions import Kind
from tests.lungct_research.command import lungct

SPACING_MM = (5.0, 2.0, 2.0)
VOXEL_ML = 0.02
MODEL = ModelInfo("fake", "0", "0", provisional=True)


def chest(true_rows: int = 10, name: str = "case") -> Case:
    """Ten slices of lung, left upper lobe in columns below 20, right upper above; on slices 2 to 5 the first
    ``true_rows`` rows of columns 5 to 35 are an opacity of 0 HU, with a thin vessel on every slice."""
    volume_hu = np.full((10, 40, 40), -850.0, np.float32)
    volume_hu[:, 30, :] = 0.0
    opacity = np.zeros(volume_hu.shape, np.uint8)
    opacity[2:6, :true_rows, 5:35] = 1
    volume_hu[opacity > 0] = 0.0
    lungs = np.ones(volume_hu.shape, np.uint8)
    return Case(name, canonical_volume(volume_hu, SPACING_MM), opacity, lungs, disease=Disease.COVID19)


def lobes() -> MaskArray:
    labels = np.full((10, 40, 40), Lobe.RIGHT_UPPER.label, np.uint8)
    labels[:, :, :20] = Lobe.LEFT_UPPER.label
    return labels


def shifted(case: Case) -> np.ndarray:
    """The true opacities of slices 3 to 5 only, and as much on slice 6."""
    return np.roll(case.opacity > 0, 1, axis=0)


def test_measures_of_one_scan() -> None:
    case = chest()
    scan = measure_scan(case, shifted(case), case.lungs, lobes())
    assert (scan.true_voxels, scan.true_ml) == (4 * 10 * 30, pytest.approx(4 * 10 * 30 * VOXEL_ML))
    assert scan.dice == pytest.approx(0.75)
    assert scan.percent == pytest.approx(100 * 1200 / 16_000)
    assert scan.slice_area_mm2.tolist() == [0, 0, 0, 1200, 1200, 1200, 1200, 0, 0, 0]
    assert np.flatnonzero(scan.slice_infected).tolist() == [2, 3, 4, 5]
    assert scan.hausdorff_mm == pytest.approx(5.0)
    left = scan.lobes[Lobe.LEFT_UPPER]
    assert (left.found_ml, left.true_ml) == pytest.approx((600 * VOXEL_ML, 600 * VOXEL_ML))
    assert left.percent == pytest.approx(100 * 600 / 8000)
    assert scan.lobes[Lobe.LEFT_LOWER].found_ml == 0


def test_scans_with_few_positive_voxels_count_for_volumes_but_not_for_dice() -> None:
    large, small = chest(10, "large"), chest(8, "small")
    scans = [measure_scan(case, case.opacity > 0, case.lungs, lobes()) for case in (large, small)]
    assert scans[1].true_voxels == 960 < FEWEST_VOXELS <= scans[0].true_voxels
    measured = summarise(scans)
    assert measured["dice"] == {"value": 1.0, "low": None, "high": None, "n": 1}
    assert measured["volume_bias_ml"]["n"] == 2
    assert measured["slice_auroc"]["value"] == 1.0


def test_without_an_expert_mask_only_what_labels_allow_is_measured() -> None:
    case = chest()
    infected = {lobe: np.zeros(10, bool) for lobe in Lobe}
    infected[Lobe.LEFT_UPPER][2:6] = True
    labelled = Case("labelled", case.volume, slice_infected=infected[Lobe.LEFT_UPPER], lobe_infected=infected)
    found = (case.opacity > 0) & (lobes() == Lobe.LEFT_UPPER.label)
    scan = measure_scan(labelled, found, case.lungs, lobes())
    assert (scan.dice, scan.true_ml, scan.surface_mm) == (None, None, None)
    assert rank_infected_lobes(scan) == 1
    measured = summarise([scan])
    assert "dice" not in measured
    assert measured["slice_auroc"]["value"] == 1
    assert measured["lobes"]["left_upper"]["slice_auroc"]["value"] == 1
    assert measured["infected_lobes_rank_first"]["value"] == 1


def test_infected_lobes_that_look_healthy_rank_last() -> None:
    case = chest()
    infected = {lobe: np.full(10, lobe is Lobe.LEFT_LOWER) for lobe in Lobe}
    labelled = Case("labelled", case.volume, lobe_infected=infected)
    scan = measure_scan(labelled, case.opacity > 0, case.lungs, lobes())
    # left lower is as empty as two healthy lobes and below the two that look affected
    assert rank_infected_lobes(scan) == pytest.approx((2 * 0.5 + 0) / 4)


def test_dice_of_a_kind_leaves_other_kinds_out() -> None:
    kinds, found = np.zeros((1, 1, 12), np.uint8), np.zeros((1, 1, 12), bool)
    kinds[..., :4], kinds[..., 4:6] = Kind.GROUND_GLASS.label, Kind.NODULE.label
    # two of four ground-glass voxels, both of the nodule, two of nothing
    found[..., 2:8] = True
    assert dice_by_kind(found, kinds) == pytest.approx(
        {"ground_glass": 2 * 2 / (4 + 4), "nodule": 2 * 2 / (4 + 2)}
    )


def test_painted_kinds_are_reported_over_the_chests_that_have_them() -> None:
    kinds = [chest().opacity * Kind.GROUND_GLASS.label, chest().opacity * Kind.NODULE.label]
    cases = [replace(chest(), kinds=labels) for labels in (*kinds, None)]
    scans = [measure_scan(case, case.opacity > 0, case.lungs, lobes()) for case in cases]
    of_kinds = summarise(scans)["dice_by_kind"]
    assert {kind: (of["value"], of["n"]) for kind, of in of_kinds.items()} == {
        "ground_glass": (1.0, 1),
        "nodule": (1.0, 1),
    }


def test_classical_baseline_finds_opacities_and_no_vessels() -> None:
    case = chest()
    found = find_classical_opacities(case.volume, case.lungs)
    assert not found[:, 25:].any()
    assert not found[:2].any()
    true = case.opacity > 0
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.85
    outside = case.lungs.copy()
    outside[:, :, 20:] = 0
    assert not find_classical_opacities(case.volume, outside)[:, :, 20:].any()


def fake_segmenters() -> Segmenters:
    """Finds everything denser than -500 HU inside what it is told to be lung."""

    def dense(volume: CtVolume, anatomy: LungAnatomy) -> MaskArray:
        return ((volume.volume_hu > -500) & (anatomy.lobes > 0)).astype(np.uint8)

    found = lobes()
    found[:, :5] = 0
    return Segmenters(lambda _: LungAnatomy(found, MODEL), dense)


def test_three_methods_are_measured_side_by_side() -> None:
    measured = measure_case(chest(), fake_segmenters())
    assert list(measured) == ["application", "network_in_expert_lungs", "classical"]
    # the application misses the five rows of opacity that it does not take for lung
    assert measured["application"].found_ml == pytest.approx((4 * 5 * 30 + 10 * 40) * VOXEL_ML)
    assert measured["network_in_expert_lungs"].found_ml == pytest.approx((4 * 10 * 30 + 10 * 40) * VOXEL_ML)


def test_without_expert_lungs_the_baseline_takes_those_of_the_application() -> None:
    case = chest()
    measured = measure_case(Case("case", case.volume, case.opacity), fake_segmenters())
    assert list(measured) == ["application", "classical"]
    assert (
        measured["classical"].slice_area_mm2.max()
        < measure_case(case, fake_segmenters())["classical"].slice_area_mm2.max()
    )


def test_report_is_json_with_a_row_a_scan() -> None:
    measured = measure_set([chest(10, "one"), chest(12, "two"), chest(14, "three")], fake_segmenters())
    read = json.loads(json.dumps(report(measured), allow_nan=False))
    rows = read["classical"]["scans"]
    assert [row["name"] for row in rows] == ["one", "two", "three"]
    assert read["classical"]["dice"]["n"] == 3
    assert read["classical"]["dice"]["low"] <= read["classical"]["dice"]["value"]
    assert set(read["application"]["lobes"]) == {str(lobe) for lobe in Lobe}
    assert rows[0]["slice_auroc"]["n"] == 10


def test_a_scan_with_nothing_found_has_no_surface_distance_and_still_a_report() -> None:
    case = chest()
    scan = measure_scan(case, np.zeros(case.opacity.shape, bool), case.lungs, lobes())
    read = json.loads(json.dumps(report({"application": [scan]}), allow_nan=False))
    assert read["application"]["surface_mm"]["value"] is None
    assert "surface_mm" not in read["application"]["scans"][0]


def test_one_command_writes_json_and_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETS, "mosmed", lambda _: iter([chest(10, "one"), chest(12, "two")]))
    monkeypatch.setattr(opacities, "load_application", lambda *_: fake_segmenters())
    result = lungct(
        *("evaluate", "opacities", "--data", tmp_path, "--set", "mosmed", "--out", tmp_path),
        "--device",
        "cpu",
    )
    assert result.exit_code == 0
    written = json.loads((tmp_path / "mosmed.json").read_text())
    assert written["set"] == "mosmed"
    assert written["application"]["dice"]["n"] == 2
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert pictures == [
        f"mosmed-{name}.png" for name in ("application", "classical", "network_in_expert_lungs")
    ]


def test_a_set_without_expert_masks_has_no_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = chest()
    monkeypatch.setitem(SETS, "ricord_1b", lambda _: iter([Case("one", case.volume)]))
    measure_and_write("ricord_1b", tmp_path, tmp_path, fake_segmenters())
    assert (tmp_path / "ricord_1b.json").exists()
    assert not list(tmp_path.glob("*.png"))


def test_the_command_knows_every_set() -> None:
    assert tuple(SETS) == command.PUBLIC_SETS
