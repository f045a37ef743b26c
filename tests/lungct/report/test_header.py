"""What the head of the report says about patient, study and whatever forbids to trust the findings."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from io import BytesIO
from typing import Any

import nibabel as nib
import pytest
from pydicom import dcmread
from pypdf import PdfReader

from lungct.delivery import deliver
from lungct.file_names import DICOM_FILES, LOBES_FILE
from lungct.findings.quality import SEVERE_FLAGS, flag_character_set, flag_method
from lungct.records import Analysis, QualityFlag
from lungct.report.content import LONGEST_VALUE, write_content
from lungct.report.glyphs import FONTS, find_unprintable
from lungct.report.html import render_html
from lungct.report.illustrations import Illustrations, illustrate
from lungct.report.pdf import render_pdf
from lungct.report.wording import LANGUAGES, Wording, table
from lungct.settings import OutputSettings

CREATED = datetime(2026, 1, 2, 3, 4, 5)
ENGLISH = Wording("en")


@pytest.fixture(scope="module")
def illustrations(analysis: Analysis) -> Illustrations:
    return illustrate(analysis)


def with_patient(analysis: Analysis, **attributes: Any) -> Analysis:
    patient = replace(analysis.chest.patient, **attributes)
    return replace(analysis, chest=replace(analysis.chest, patient=patient))


def with_selection(analysis: Analysis, **attributes: Any) -> Analysis:
    selection = replace(analysis.chest.selection, **attributes)
    flags = (*flag_method(selection), *analysis.findings.flags)
    return replace(
        analysis,
        chest=replace(analysis.chest, selection=selection),
        findings=replace(analysis.findings, flags=flags),
    )


def header(analysis: Analysis) -> dict[str, str]:
    return dict(write_content(analysis, ENGLISH).header)


def first_page(analysis: Analysis, illustrations: Illustrations) -> str:
    file = render_pdf(write_content(analysis, ENGLISH), illustrations, CREATED)
    return " ".join(PdfReader(BytesIO(file)).pages[0].extract_text().split())


@pytest.mark.parametrize(
    "name",
    [
        *("สมชาย", "राजेश्वरी", "কৃষ্ণ", "தமிழ்", "శ్రీనివాస్", "ಕನ್ನಡ", "ശ്രീകുമാർ", "ගුණසේකර", "ស្រីមុំ"),
        *("ລາວ", "ကြည်", "ኃይለ", "მარიამ", "Արամ", "یوسف", "יצחק", "王小明", "ᠮᠣᠩᠭᠣᠯ"),
    ],
)
def test_name_in_a_script_of_noto_is_printed(analysis: Analysis, name: str) -> None:
    assert header(with_patient(analysis, patient_name=name))["Patient name"] == name


@pytest.mark.parametrize("name", ["བསྟན་འཛིན", "𠮷田", "ᚠᚢᚦ"])
def test_name_without_glyphs_is_replaced_by_a_sign_in_pdf_and_html(
    analysis: Analysis, illustrations: Illustrations, name: str
) -> None:
    named = with_patient(analysis, patient_name=name)
    sign = "not printed here: see the DICOM header, patient ID P-42"
    assert sign in first_page(named, illustrations)
    page = render_html(named, write_content(named, ENGLISH), illustrations)
    assert sign in page
    assert name not in page


def test_text_without_glyphs_shows_where_letters_are_missing(analysis: Analysis) -> None:
    assert header(with_patient(analysis, institution="Klinik ᚠᚢ"))["Imaging centre"] == "Klinik □□"


def test_name_in_another_character_set_is_not_printed_and_flagged(analysis: Analysis) -> None:
    misread = with_patient(analysis, patient_name="ÍõÐ¡Ã÷", misfits=("PatientName",))
    assert header(misread)["Patient name"].endswith("patient ID P-42")
    assert [flag.code for flag in flag_character_set(misread.chest.patient)] == ["NAME_CHARACTER_SET"]


@pytest.mark.parametrize("text", ["W" * 3000, "word " * 600], ids=["one word", "words"])
def test_text_of_any_length_adds_a_page_at_most(
    analysis: Analysis, illustrations: Illustrations, text: str
) -> None:
    keywords = ("patient_name", "patient_id", "institution", "study_description", "study_date")
    long = with_patient(analysis, **dict.fromkeys(keywords, text))
    assert max(map(len, header(long).values())) < 2 * LONGEST_VALUE
    file = render_pdf(write_content(long, ENGLISH), illustrations, CREATED)
    assert len(PdfReader(BytesIO(file)).pages) <= 3


def test_dates_of_all_studies_are_named(analysis: Analysis) -> None:
    several = with_selection(analysis, study_dates_seen=("20191231", "20200305"))
    assert header(several)["Study date"] == "2020-03-05 (studies seen: 2019-12-31, 2020-03-05)"


def test_date_of_a_single_study_stands_alone(analysis: Analysis) -> None:
    assert header(with_selection(analysis, study_dates_seen=("20200305",)))["Study date"] == "2020-03-05"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", SEVERE_FLAGS)
def test_severe_flag_has_a_sentence_in_every_language(code: str, language: Any) -> None:
    assert table(language)[f"severe.{code}"]


def test_severe_flag_stands_above_all_others(analysis: Analysis, illustrations: Illustrations) -> None:
    flags = (*analysis.findings.flags, QualityFlag("ORIENTATION_DOUBTFUL", "spine in front"))
    doubtful = replace(analysis, findings=replace(analysis.findings, flags=flags))
    text = first_page(doubtful, illustrations)
    assert text.index("The chest does not lie as the header says.") < text.index("read them before")
    assert "Region (sides and lobes doubtful)" in text
    page = render_html(doubtful, write_content(doubtful, ENGLISH), illustrations)
    assert page.index('role="alert"') < page.index("read them before")


def test_every_output_says_that_it_is_outside_the_method(analysis: Analysis, tmp_path: Any) -> None:
    outside = with_selection(analysis, accepted_codes=("SLICE_TOO_THICK",))
    deliver(tmp_path, OutputSettings(), outside)
    objects = [dcmread(path) for name in DICOM_FILES if (path := tmp_path / name).exists()]
    assert len(objects) > 5
    assert all(dataset.SeriesDescription.endswith("OUTSIDE METHOD") for dataset in objects)
    assert "OUTSIDE_METHOD: SLICE_TOO_THICK" in str(objects)
    assert "SLICE_TOO_THICK" in (tmp_path / "report.html").read_text()
    assert "SLICE_TOO_THICK" in PdfReader(tmp_path / "report.pdf").pages[0].extract_text()
    assert b"OUTSIDE_METHOD: SLICE_TOO_THICK" in nib.load(tmp_path / LOBES_FILE).header["descrip"].item()


def test_no_font_file_is_larger_than_a_report_needs() -> None:
    assert not [path.name for path in FONTS.glob("Noto*.ttf") if path.stat().st_size > 300_000]
    assert not find_unprintable("Müller Ελένη Юрий")
