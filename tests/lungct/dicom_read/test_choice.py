"""Which of several series that headers allow is analysed, by what their slices show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungct.dicom_read import choose_series, scan_folder
from lungct.records import HuArray, Scan, Selection, Series
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions
from lungct_research.synthesis.phantom.thorax import make_thorax

SPACING_MM = (2.5, 2.8, 2.8)
DATE, EARLIER = "20240401", "20220401"
OPTIONS = StudyOptions(seed=3, spacing_mm=SPACING_MM, study_date=DATE)
THIN = replace(OPTIONS, spacing_mm=(1.25, 2.8, 2.8), series_number=2)

Write = Callable[[HuArray, StudyOptions], Series]


@pytest.fixture(scope="module")
def chest_hu() -> HuArray:
    return make_thorax(3, SPACING_MM, disease=Disease.COVID19).volume_hu


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    def write_series(volume_hu: HuArray, options: StudyOptions) -> Series:
        folder = tmp_path_factory.mktemp("series")
        write_study(volume_hu, folder, options)
        (series,) = scan_folder(folder).series
        return series

    return write_series


@pytest.fixture(scope="module")
def whole(chest_hu: HuArray, write: Write) -> Series:
    return write(chest_hu, OPTIONS)


def _choose(*series: Series) -> Selection:
    return choose_series(Scan(Path("study"), series))


def _codes(selection: Selection) -> set[str]:
    return {reason.code for verdict in selection.verdicts for reason in verdict.reasons}


def _bases(chest_hu: HuArray) -> HuArray:
    return np.repeat(chest_hu[:62], 2, axis=0)


def _neck(chest_hu: HuArray) -> HuArray:
    above = np.repeat(chest_hu[-1:], 40, axis=0)
    return np.repeat(np.concatenate([chest_hu[-35:], above]), 2, axis=0)


def _heart(chest_hu: HuArray) -> HuArray:
    return np.repeat(chest_hu[30:92, 30:98, 34:104], 2, axis=0)


def _breathed_out(chest_hu: HuArray) -> HuArray:
    return np.where((chest_hu < -500) & (chest_hu > -960), chest_hu + 150, chest_hu).astype(np.int16)


def _itself(chest_hu: HuArray) -> HuArray:
    return chest_hu


MPR = ("DERIVED", "SECONDARY", "AXIAL", "MPR")
MIP = ("DERIVED", "SECONDARY", "AXIAL", "MIP")
RIVALS: dict[str, tuple[Callable[[HuArray], HuArray], StudyOptions]] = {
    "thin abdomen": (_bases, THIN),
    "thin heart": (_heart, THIN),
    "thin neck": (_neck, THIN),
    "MPR": (_itself, replace(THIN, image_type=MPR)),
    "MIP": (_itself, replace(THIN, image_type=MIP)),
    "expiration": (_breathed_out, replace(THIN, spacing_mm=(1.75, 2.8, 2.8), slice_thickness_mm=1.25)),
    "thin prior": (_itself, replace(THIN, seed=4, spacing_mm=(1.5, 2.8, 2.8), study_date=EARLIER)),
    "other kernel": (_itself, replace(OPTIONS, series_number=2, kernel="SOFT")),
}


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.fault("series", "Whole chest beside {rival}", "the whole chest is analysed")
def test_whole_chest_wins(whole: Series, chest_hu: HuArray, write: Write, rival: str) -> None:
    change, options = RIVALS[rival]
    other = write(change(chest_hu), options)
    for order in ((whole, other), (other, whole)):
        assert _choose(*order).analysed is whole


@pytest.mark.parametrize("part", [_bases, _neck, _heart], ids=["abdomen", "neck", "heart"])
@pytest.mark.fault("series", "Series that shows only the {part}", "exit code 3, `LUNGS_CUT`")
def test_series_that_shows_an_end_or_the_middle_of_the_lungs_is_refused(
    chest_hu: HuArray, write: Write, part: Callable[[HuArray], HuArray]
) -> None:
    selection = _choose(write(part(chest_hu), THIN))
    assert selection.chosen is None
    assert _codes(selection) == {"LUNGS_CUT"}


@pytest.mark.parametrize(
    "solid", [np.s_[:, :, :64], np.s_[:, :, 64:], np.s_[:60]], ids=["right", "left", "bases"]
)
def test_airless_parts_of_the_lungs_do_not_exclude_a_series(
    chest_hu: HuArray, write: Write, solid: Any
) -> None:
    ill = chest_hu.copy()
    ill[solid] = np.where((ill[solid] < -300) & (ill[solid] > -960), 40, ill[solid])
    assert _choose(write(ill, OPTIONS)).chosen is not None


def test_expiration_alone_is_analysed_and_says_so(chest_hu: HuArray, write: Write) -> None:
    alone = _choose(write(_breathed_out(chest_hu), OPTIONS)).first
    assert alone is not None
    assert "EXPIRATION" in {preference.code for preference in alone.preferences}


def test_dates_of_all_studies_of_the_patient_are_known(whole: Series) -> None:
    prior = replace(whole, study_uid="1.2", series_uid="1.2.3", study_date=EARLIER)
    assert _choose(prior, whole).study_dates_seen == (EARLIER, DATE)


def test_newest_study_wins_over_a_prior_even_with_cut_lungs(
    whole: Series, chest_hu: HuArray, write: Write
) -> None:
    newest = write(chest_hu[:96], replace(OPTIONS, seed=5, study_date="20250101"))
    assert _choose(whole, newest).analysed is newest


def test_dates_do_not_choose_between_patients(whole: Series) -> None:
    other = replace(whole, study_uid="1.2", series_uid="1.2.3", study_date="20250101", patient=1)
    assert _choose(whole, other).analysed is min((whole, other), key=lambda series: series.series_uid)


def test_series_that_cannot_be_decoded_comes_after_one_that_can(whole: Series) -> None:
    lost = tuple(replace(image, path=Path("gone.dcm")) for image in whole.slices)
    assert _choose(replace(whole, series_uid="1.2", slices=lost), whole).analysed is whole
