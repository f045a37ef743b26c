"""Every quality flag, made to happen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lungct.findings.quality import (
    acquisition_flags,
    agreement_flags,
    lung_volume_flags,
    model_flags,
    truncation_flags,
)
from lungct.findings.quantification import score
from lungct.records import (
    CtVolume,
    Diagnosis,
    Extent,
    Lobe,
    LungAnatomy,
    ModelInfo,
    Probabilities,
    Quantification,
    Reason,
    Series,
    SeriesVerdict,
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
SERIES = Series("1", "2", "CT", slices=(), slice_thickness_mm=1.0)


def lungs(change: dict[Lobe, float] | None = None, opacity_percent: float = 0) -> Quantification:
    volumes_ml = HEALTHY_ML | (change or {})
    return score({lobe: Extent(ml, ml * opacity_percent / 100) for lobe, ml in volumes_ml.items()})


def codes(flags: object) -> list[str]:
    return [flag.code for flag in flags]  # type: ignore[attr-defined]


def anatomy_inside(margin: int = 2) -> LungAnatomy:
    lobes = np.zeros(THIN.volume_hu.shape, np.uint8)
    lobes[margin:-margin, margin:-margin, margin:-margin] = 1
    return LungAnatomy(lobes, MODEL)


def test_healthy_lungs_raise_no_flag() -> None:
    quantification = lungs()
    assert not codes(lung_volume_flags(quantification))
    assert not codes(agreement_flags(Probabilities(0.1, 0.1, 0.8), Diagnosis.NO_INFECTION, quantification))
    assert not codes(acquisition_flags(SeriesVerdict(SERIES, rank=1)))
    assert not codes(truncation_flags(anatomy_inside(), THIN))
    assert not codes(model_flags([MODEL]))


@pytest.mark.parametrize("factor", [0.25, 2.0])
def test_implausible_lung_volume(factor: float) -> None:
    quantification = lungs({lobe: ml * factor for lobe, ml in HEALTHY_ML.items()})
    assert codes(lung_volume_flags(quantification)) == ["LUNG_VOLUME_IMPLAUSIBLE"]


def test_missing_lobe() -> None:
    flags = list(lung_volume_flags(lungs({Lobe.RIGHT_MIDDLE: 0})))
    assert codes(flags) == ["LOBE_MISSING"]
    assert "right middle" in flags[0].message


def test_asymmetric_lungs() -> None:
    assert "LUNGS_ASYMMETRIC" in codes(lung_volume_flags(lungs({Lobe.LEFT_UPPER: 100, Lobe.LEFT_LOWER: 100})))


def test_no_lung_at_all_does_not_divide_by_zero() -> None:
    flags = codes(lung_volume_flags(lungs(dict.fromkeys(Lobe, 0.0))))
    assert flags == ["LUNG_VOLUME_IMPLAUSIBLE", *["LOBE_MISSING"] * 5]


@pytest.mark.parametrize("code", ["THICK_SLICES", "OTHER_KERNEL"])
def test_series_that_is_not_as_recommended(code: str) -> None:
    verdict = SeriesVerdict(SERIES, rank=1, preferences=(Reason(code, "why"), Reason("SLICE_COUNT", "40")))
    assert codes(acquisition_flags(verdict)) == [code]


@pytest.mark.parametrize(
    ("where", "code"),
    [
        (np.s_[0, 10:40, 10:40], "LUNG_BASE_TRUNCATED"),
        (np.s_[-1, 10:40, 10:40], "LUNG_APEX_TRUNCATED"),
        (np.s_[5:35, 10:50, 0], "FIELD_OF_VIEW_CROPPED"),
    ],
)
def test_truncated_lungs(where: tuple[int | slice, ...], code: str) -> None:
    anatomy = anatomy_inside()
    anatomy.lobes[where] = 1
    assert codes(truncation_flags(anatomy, THIN)) == [code]


def test_no_infection_with_opacities_disagrees() -> None:
    flags = agreement_flags(Probabilities(0.1, 0.1, 0.8), Diagnosis.NO_INFECTION, lungs(opacity_percent=3))
    assert codes(flags) == ["CLASSIFIER_SEGMENTER_DISAGREE"]


def test_infection_without_opacities_disagrees() -> None:
    flags = agreement_flags(Probabilities(0.8, 0.1, 0.1), Diagnosis.COVID19, lungs())
    assert codes(flags) == ["CLASSIFIER_SEGMENTER_DISAGREE"]


def test_no_class_above_the_cut_off_is_uncertain() -> None:
    flags = agreement_flags(Probabilities(0.3, 0.4, 0.3), Diagnosis.OTHER_INFECTION, lungs(opacity_percent=3))
    assert codes(flags) == ["CLASSIFICATION_UNCERTAIN"]


def test_provisional_models_are_named() -> None:
    flags = list(model_flags([MODEL, replace(MODEL, name="opacity", provisional=True)]))
    assert codes(flags) == ["MODELS_PROVISIONAL"]
    assert "opacity" in flags[0].message
    assert "lungs" not in flags[0].message.split(":")[1]
