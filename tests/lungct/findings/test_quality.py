"""Every quality flag, made to happen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungct.findings.quality import (
    conclude,
    flag_agreement,
    flag_airless_lobes,
    flag_confidence,
    flag_familiarity,
    flag_lung_volumes,
    flag_models,
    flag_selection,
    flag_solid_lung,
    flag_tree,
    flag_truncation,
)
from lungct.findings.quantification import quantify, score
from lungct.records import (
    BronchovascularTree,
    Chest,
    Classification,
    CtVolume,
    Diagnosis,
    Extent,
    Lobe,
    LungAnatomy,
    ModelInfo,
    Opacities,
    Probabilities,
    QualityFlag,
    Quantification,
    Reason,
    Scan,
    Selection,
    Series,
    SeriesVerdict,
    SliceHeader,
)

HEALTHY_ML = {
    Lobe.LEFT_UPPER: 1200.0,
    Lobe.LEFT_LOWER: 1100.0,
    Lobe.RIGHT_UPPER: 950.0,
    Lobe.RIGHT_MIDDLE: 500.0,
    Lobe.RIGHT_LOWER: 1300.0,
}
MODEL = ModelInfo("lungs", "1.0", "0", provisional=False)
THIN = CtVolume(np.zeros((40, 60, 60), np.int16), np.diag([1.0, 5.0, 5.0, 1.0])[[2, 1, 0, 3]])
NOTHING = Scan(Path("in"), ())
SERIES = Series("1", "2", "CT", slices=(), slice_thickness_mm=1.0, frame_of_reference_uid="3")


def lungs(change: dict[Lobe, float] | None = None, opacity_percent: float = 0) -> Quantification:
    volumes_ml = HEALTHY_ML | (change or {})
    return score({lobe: Extent(ml, ml * opacity_percent / 100) for lobe, ml in volumes_ml.items()})


def codes(flags: object) -> list[str]:
    return [flag.code for flag in flags]  # type: ignore[attr-defined]


def chosen(*preferences: Reason) -> Selection:
    return Selection(NOTHING, (SeriesVerdict(SERIES, rank=1, preferences=preferences),))


def anatomy_inside(margin: int = 2, beyond: tuple[int | slice, ...] | None = None) -> LungAnatomy:
    lobes = np.zeros(THIN.volume_hu.shape, np.uint8)
    lobes[margin:-margin, margin:-margin, margin:-margin] = 1
    if beyond is not None:
        lobes[beyond] = 1
    return LungAnatomy(lobes, MODEL)


def test_healthy_lungs_raise_no_flag() -> None:
    quantification = lungs()
    assert not codes(flag_lung_volumes(quantification))
    assert not codes(flag_agreement(Probabilities(0.1, 0.1, 0.8), Diagnosis.NO_INFECTION, quantification))
    assert not codes(flag_selection(chosen()))
    assert not codes(flag_truncation(anatomy_inside(), THIN))
    assert not codes(flag_models([MODEL]))


@pytest.mark.parametrize("factor", [0.25, 2.0])
@pytest.mark.fault("chest", "Lungs {factor} times the normal volume", "flag `LUNG_VOLUME_IMPLAUSIBLE`")
def test_implausible_lung_volume(factor: float) -> None:
    quantification = lungs({lobe: ml * factor for lobe, ml in HEALTHY_ML.items()})
    assert codes(flag_lung_volumes(quantification)) == ["LUNG_VOLUME_IMPLAUSIBLE"]


@pytest.mark.fault("chest", "A lobe that is not found", "flag `LOBE_MISSING`")
def test_missing_lobe() -> None:
    flags = list(flag_lung_volumes(lungs({Lobe.RIGHT_MIDDLE: 0})))
    assert codes(flags) == ["LOBE_MISSING"]
    assert "right middle" in flags[0].message


@pytest.mark.fault("chest", "One lung much smaller", "flag `LUNGS_ASYMMETRIC`")
def test_asymmetric_lungs() -> None:
    assert "LUNGS_ASYMMETRIC" in codes(flag_lung_volumes(lungs({Lobe.LEFT_UPPER: 100, Lobe.LEFT_LOWER: 100})))


@pytest.mark.parametrize(
    ("lobe", "inside_ml", "outside_ml"),
    [(Lobe.RIGHT_MIDDLE, 1000.0, 1400.0), (Lobe.RIGHT_MIDDLE, 50.0, 40.0), (Lobe.LEFT_LOWER, 430.0, 410.0)],
)
@pytest.mark.fault("chest", "{lobe} lobe of {outside_ml} mL", "flag `LOBE_SHARE_IMPLAUSIBLE`")
def test_lobe_of_implausible_share(lobe: Lobe, inside_ml: float, outside_ml: float) -> None:
    """The other lobes of the lungs hold 2250 mL on the right and 1200 mL on the left."""
    assert not codes(flag_lung_volumes(lungs({lobe: inside_ml})))
    flags = list(flag_lung_volumes(lungs({lobe: outside_ml})))
    assert "LOBE_SHARE_IMPLAUSIBLE" in codes(flags)
    assert any(lobe.replace("_", " ") in flag.message for flag in flags)


@pytest.mark.fault("chest", "Lobes that the network is not sure of", "flag `LOBES_UNCERTAIN`")
def test_lobes_that_the_segmenter_is_not_sure_about() -> None:
    sure = replace(anatomy_inside(), confidence=dict.fromkeys(Lobe, 0.85))
    assert not codes(flag_confidence(sure))
    unsure = replace(sure, confidence={**sure.confidence, Lobe.RIGHT_MIDDLE: 0.75})
    (flag,) = flag_confidence(unsure)
    assert flag.code == "LOBES_UNCERTAIN"
    assert "right middle (0.75)" in flag.message


def test_no_lung_at_all_does_not_divide_by_zero() -> None:
    flags = codes(flag_lung_volumes(lungs(dict.fromkeys(Lobe, 0.0))))
    assert flags == ["LUNG_VOLUME_IMPLAUSIBLE", *["LOBE_MISSING"] * 5]


@pytest.mark.parametrize("code", ["THICK_SLICES", "OTHER_KERNEL"])
@pytest.mark.fault("chest", "Series not as recommended", "flag `{code}`")
def test_series_that_is_not_as_recommended(code: str) -> None:
    assert codes(flag_selection(chosen(Reason(code, "why"), Reason("SLICE_COUNT", "40")))) == [code]


@pytest.mark.fault("chest", "A lobe with hardly any air", "flag `LOBES_WITHOUT_AIR`")
def test_lobes_without_air() -> None:
    anatomy = anatomy_inside()
    hu = np.full(anatomy.lobes.shape, -850, np.int16)
    assert not codes(flag_airless_lobes(anatomy, replace(THIN, volume_hu=hu)))
    hu[:, :, : int(0.85 * hu.shape[2])] = 30
    (flag,) = flag_airless_lobes(anatomy, replace(THIN, volume_hu=hu))
    assert flag.code == "LOBES_WITHOUT_AIR"
    assert "left upper" in flag.message


@pytest.mark.fault("chest", "Several studies in the folder", "flag `SEVERAL_STUDIES`")
def test_several_studies_are_flagged() -> None:
    verdicts = (*chosen().verdicts, SeriesVerdict(replace(SERIES, study_uid="9"), (Reason("NOT_CT", ""),)))
    assert codes(flag_selection(Selection(NOTHING, verdicts))) == ["SEVERAL_STUDIES"]


@pytest.mark.fault("chest", "No frame of reference", "flag `FRAME_OF_REFERENCE_MISSING`")
def test_missing_frame_of_reference_is_flagged() -> None:
    verdict = SeriesVerdict(replace(SERIES, frame_of_reference_uid=""), rank=1)
    assert codes(flag_selection(Selection(NOTHING, (verdict,)))) == ["FRAME_OF_REFERENCE_MISSING"]


@pytest.mark.fault("chest", "Lossy compression", "flag `LOSSY_COMPRESSION`")
def test_lossy_compression_is_flagged() -> None:
    image = SliceHeader(Path("1"), 1, 512, 512, None, None, None, ("DERIVED",), is_lossy=True)
    series = replace(SERIES, slices=(image,))
    assert codes(flag_selection(Selection(NOTHING, (SeriesVerdict(series, rank=1),)))) == [
        "LOSSY_COMPRESSION"
    ]


@pytest.mark.parametrize(
    ("is_wanted", "missing", "expected"),
    [
        (True, "airways", ["TREE_NOT_SEGMENTED"]),
        (True, "vessels", ["TREE_NOT_SEGMENTED"]),
        (False, "vessels", []),
    ],
)
@pytest.mark.fault("chest", "No {missing} found (wanted: {is_wanted})", "flag: `{expected}`")
def test_airways_or_vessels_sought_in_vain(
    tree: BronchovascularTree, is_wanted: bool, missing: str, expected: list[str]
) -> None:
    nothing = np.zeros_like(tree.airways)
    lacking = BronchovascularTree(tree.airways, tree.vessels, is_wanted)
    lacking = replace(lacking, airways=nothing) if missing == "airways" else replace(lacking, vessels=nothing)
    assert codes(flag_tree(lacking)) == expected
    assert not codes(flag_tree(tree))


def test_flags_of_every_kind_reach_the_report(
    chest: Chest,
    anatomy: LungAnatomy,
    classification: Classification,
    opacities: Opacities,
    tree: BronchovascularTree,
) -> None:
    flagged = replace(
        chest,
        selection=chosen(Reason("THICK_SLICES", "why")),
        volume=chest.volume.with_flags(QualityFlag("SLICES_MISSING", "why")),
    )
    quantification = quantify(anatomy, opacities, chest.volume.voxel_ml)
    findings = conclude(flagged, anatomy, classification, opacities, tree, quantification).findings
    assert codes(findings.flags)[:2] == ["SLICES_MISSING", "THICK_SLICES"]
    assert {"LUNG_VOLUME_IMPLAUSIBLE", "MODELS_PROVISIONAL"} <= set(codes(findings.flags))


def codes_of_lungs(**ml: float) -> list[str]:
    return codes(flag_lung_volumes(lungs({Lobe(name): value for name, value in ml.items()})))


@pytest.mark.parametrize(
    ("within", "beyond", "code"),
    [
        ({"right_middle": 30}, {"right_middle": 29.9}, "LOBE_MISSING"),
        ({"left_upper": 5650}, {"left_upper": 5651}, "LUNG_VOLUME_IMPLAUSIBLE"),
        ({"left_upper": 0, "left_lower": 1100}, {"left_upper": 0, "left_lower": 1099}, "LUNGS_ASYMMETRIC"),
        ({"left_upper": 3850}, {"left_upper": 3851}, "LUNGS_ASYMMETRIC"),
    ],
)
def test_limits_of_lung_volumes(within: dict[str, float], beyond: dict[str, float], code: str) -> None:
    assert code not in codes_of_lungs(**within)
    assert code in codes_of_lungs(**beyond)


@pytest.mark.parametrize(("percent", "flagged"), [(0.99, False), (1.0, True)])
def test_limit_of_disagreement(percent: float, flagged: bool) -> None:
    certain = Probabilities(0.1, 0.1, 0.8)
    flags = flag_agreement(certain, Diagnosis.NO_INFECTION, lungs(opacity_percent=percent))
    assert bool(codes(flags)) is flagged


@pytest.mark.parametrize(("probability", "flagged"), [(0.45, True), (0.46, False)])
def test_limit_of_uncertainty(probability: float, flagged: bool) -> None:
    unsure = Probabilities(0.3, probability, 0.7 - probability)
    flags = flag_agreement(unsure, Diagnosis.OTHER_INFECTION, lungs(opacity_percent=3))
    assert bool(codes(flags)) is flagged


@pytest.mark.parametrize(("n_rows", "flagged"), [(8, False), (9, True)])
def test_limit_of_truncation(n_rows: int, flagged: bool) -> None:
    """A voxel of the outermost slice covers 25 mm²: 8 x 10 of them are exactly the allowed 2000 mm²."""
    anatomy = anatomy_inside(beyond=np.s_[-1, 10 : 10 + n_rows, 10:20])
    assert bool(codes(flag_truncation(anatomy, THIN))) is flagged


@pytest.mark.parametrize(
    ("where", "code"),
    [
        (np.s_[0, 10:40, 10:40], "LUNG_BASE_TRUNCATED"),
        (np.s_[-1, 10:40, 10:40], "LUNG_APEX_TRUNCATED"),
        (np.s_[5:35, 10:50, 0], "FIELD_OF_VIEW_CROPPED"),
    ],
)
@pytest.mark.fault("chest", "Lungs cut off at an end or a side", "flag `{code}`")
def test_truncated_lungs(where: tuple[int | slice, ...], code: str) -> None:
    anatomy = anatomy_inside(beyond=where)
    assert codes(flag_truncation(anatomy, THIN)) == [code]


@pytest.mark.fault("chest", "No signs of infection, yet opacities", "flag `CLASSIFIER_SEGMENTER_DISAGREE`")
def test_no_infection_with_opacities_disagrees() -> None:
    flags = flag_agreement(Probabilities(0.1, 0.1, 0.8), Diagnosis.NO_INFECTION, lungs(opacity_percent=3))
    assert codes(flags) == ["CLASSIFIER_SEGMENTER_DISAGREE"]


@pytest.mark.fault("chest", "Infection, yet no opacities", "flag `CLASSIFIER_SEGMENTER_DISAGREE`")
def test_infection_without_opacities_disagrees() -> None:
    flags = flag_agreement(Probabilities(0.8, 0.1, 0.1), Diagnosis.COVID19, lungs())
    assert codes(flags) == ["CLASSIFIER_SEGMENTER_DISAGREE"]


@pytest.mark.fault("chest", "No class above the cut-off", "flag `CLASSIFICATION_UNCERTAIN`")
def test_no_class_above_the_cut_off_is_uncertain() -> None:
    flags = flag_agreement(Probabilities(0.3, 0.4, 0.3), Diagnosis.OTHER_INFECTION, lungs(opacity_percent=3))
    assert codes(flags) == ["CLASSIFICATION_UNCERTAIN"]


@pytest.mark.parametrize(("highest", "codes"), [(None, []), (-1.9, []), (-2.1, ["CLASSIFIER_UNFAMILIAR"])])
def test_a_chest_of_higher_energy_than_the_validation_is_flagged(
    highest: float | None, codes: list[str]
) -> None:
    found = Classification(Probabilities(0.8, 0.1, 0.1), MODEL, energy=-2.0, highest_energy=highest)
    assert [flag.code for flag in flag_familiarity(found)] == codes


def test_provisional_models_are_named() -> None:
    flags = list(flag_models([MODEL, replace(MODEL, name="opacity", provisional=True)]))
    assert codes(flags) == ["MODELS_PROVISIONAL"]
    assert "opacity" in flags[0].message
    assert "lungs" not in flags[0].message.split(":")[1]


def test_solid_lung_far_from_air_is_flagged_with_its_millilitres() -> None:
    volume, anatomy = chest_with_solid_lower_half(40)
    (flag,) = flag_solid_lung(anatomy, volume)
    assert flag.code == "SOLID_LUNG"
    assert "left lower 100 mL" in flag.message


@pytest.mark.parametrize("hu", [-850, -300])
def test_air_filled_or_hazy_lung_is_not_flagged(hu: int) -> None:
    volume, anatomy = chest_with_solid_lower_half(hu)
    assert not codes(flag_solid_lung(anatomy, volume))


def chest_with_solid_lower_half(hu: int) -> tuple[CtVolume, LungAnatomy]:
    """One lobe of 100 x 50 x 50 mm; the upper half is air-filled."""
    lobes = np.zeros((40, 20, 20), np.uint8)
    lobes[:] = Lobe.LEFT_LOWER.label
    volume_hu = np.full(lobes.shape, -850, np.int16)
    volume_hu[:20] = hu
    return CtVolume(volume_hu, np.diag([2.5, 2.5, 2.5, 1.0])[[2, 1, 0, 3]]), LungAnatomy(lobes, MODEL)
