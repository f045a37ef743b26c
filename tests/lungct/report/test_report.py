"""PDF and HTML say what ``result.json`` says, in every language, and look odd where something is odd."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pypdf import PdfReader

from lungct.findings.quantification import score
from lungct.journal import Journal
from lungct.records import (
    Analysis,
    Diagnosis,
    Extent,
    Lobe,
    Opacities,
    Probabilities,
    QualityFlag,
    Validation,
)
from lungct.report.content import write_content
from lungct.report.html import render_html
from lungct.report.illustrations import Illustrations, illustrate, measure_affected_percent
from lungct.report.pdf import render_pdf
from lungct.report.result import build_result
from lungct.report.wording import LANGUAGES, Wording, table
from lungct.settings import Language

CREATED = datetime(2026, 1, 2, 3, 4, 5)

FIGURE_5_ML = {
    Lobe.LEFT_UPPER: (1336, 83),
    Lobe.LEFT_LOWER: (1609, 169),
    Lobe.RIGHT_UPPER: (989, 101),
    Lobe.RIGHT_MIDDLE: (787, 37),
    Lobe.RIGHT_LOWER: (1633, 115),
}
"""Lung and opacity volumes of Fig. 5 of Topff et al. 2023."""


@pytest.fixture(scope="module")
def golden(analysis: Analysis) -> Analysis:
    """The findings of Fig. 5 with pictures of the small chest."""
    lobes = {lobe: Extent(lung, opacity) for lobe, (lung, opacity) in FIGURE_5_ML.items()}
    findings = replace(
        analysis.findings,
        probabilities=Probabilities(0.78, 0.17, 0.05),
        diagnosis=Diagnosis.COVID19,
        quantification=score(lobes),
    )
    return replace(analysis, findings=findings)


@pytest.fixture(scope="module")
def illustrations(analysis: Analysis) -> Illustrations:
    return illustrate(analysis)


def pdf(analysis: Analysis, illustrations: Illustrations, language: Language = "en", **options: Any) -> bytes:
    return render_pdf(write_content(analysis, Wording(language)), illustrations, CREATED, **options)


def pages(file: bytes) -> list[str]:
    return [page.extract_text() for page in PdfReader(BytesIO(file)).pages]


def html(analysis: Analysis, illustrations: Illustrations, language: Language = "en") -> str:
    return render_html(analysis, write_content(analysis, Wording(language)), illustrations)


def numbers_of_result(analysis: Analysis) -> Iterator[tuple[float, int]]:
    """Every number of ``findings`` in ``result.json`` with the decimals that people see."""
    journal = Journal()
    journal.note(analysis.findings)
    findings = build_result(journal, None, []).model_dump()["findings"]
    for probability in findings["probabilities"].values():
        yield probability, 2
    for region in (
        *findings["lobes"].values(),
        *(findings[name] for name in ("left_lung", "right_lung", "total")),
    ):
        yield region["lung_ml"], 0
        yield region["opacity_ml"], 0
        yield region["opacity_percent"], 1
    yield findings["severity_score"], 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_number_of_figure_5_is_on_the_first_page(
    golden: Analysis, illustrations: Illustrations, language: Language
) -> None:
    words, text = Wording(language), pages(pdf(golden, illustrations, language))[0]
    for value, decimals in numbers_of_result(golden):
        assert re.search(rf"(?<!\d){re.escape(words.number(value, decimals))}(?!\d)", text), value
    for key in ("diagnosis.covid19", "involvement.moderate", "notice"):
        assert words(key) in text
    assert words("of_25", score=9) in text


def test_rows_of_figure_5_stand_together(golden: Analysis, illustrations: Illustrations) -> None:
    text = pages(pdf(golden, illustrations))[0]
    for row in (
        "Left upper lobe 1336 83 6.2 2",
        "Right middle lobe 787 37 4.7 1",
        "Left lung 2945 252 8.6",
        "Both lungs 6354 505 7.9",
    ):
        assert row in " ".join(text.split())


@pytest.mark.parametrize("language", LANGUAGES)
def test_html_has_the_same_numbers_and_words(
    golden: Analysis, illustrations: Illustrations, language: Language
) -> None:
    words, text = Wording(language), html(golden, illustrations, language)
    visible = re.sub(r"<script>.*</script>|base64,[^\"]*", "", text, flags=re.DOTALL)
    for value, decimals in numbers_of_result(golden):
        assert re.search(rf"(?<![\d.,]){re.escape(words.number(value, decimals))}(?!\d)", visible), value
    assert f'lang="{language}"' in text
    assert words("diagnosis.covid19") in visible


def test_html_needs_nothing_from_elsewhere(golden: Analysis, illustrations: Illustrations) -> None:
    text = html(golden, illustrations)
    assert not re.findall(r"""(?:src|href)=["']?(?!data:|\{)[^"'> ]""", text)
    assert "http" not in re.sub(r"base64,[^\"]*|http-equiv", "", text)


def test_html_shows_every_slice_from_head_to_feet(golden: Analysis, illustrations: Illustrations) -> None:
    frames = json.loads(re.search(r"const frames = (\[.*?\]);", html(golden, illustrations)).group(1))  # type: ignore[union-attr]
    assert len(frames) == golden.chest.volume.volume_hu.shape[0]


def test_html_does_not_trust_the_header(golden: Analysis, illustrations: Illustrations) -> None:
    patient = replace(golden.chest.patient, patient_name="<script>alert(1)</script>")
    text = html(replace(golden, chest=replace(golden.chest, patient=patient)), illustrations)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


@pytest.mark.parametrize(
    "name",
    ["Müller Jörg", "Παπαδόπουλος Ελένη", "Щербаков Юрий", "山田 太郎", "홍길동", "王小明", "Nguyễn Văn Ả"],
)
def test_name_in_any_script_is_in_the_text_of_the_pdf(
    golden: Analysis, illustrations: Illustrations, name: str
) -> None:
    assert name in pages(pdf(named(golden, name), illustrations))[0]


def test_arabic_name_is_printed_with_joined_letters(golden: Analysis, illustrations: Illustrations) -> None:
    """Shaped letters are other glyphs than single ones; which text they stand for depends on the reader."""
    text = pages(pdf(named(golden, "محمد"), illustrations))[0]
    assert any("\u0600" <= letter <= "\u06ff" or "\ufb50" <= letter <= "\ufeff" for letter in text)


def named(analysis: Analysis, name: str) -> Analysis:
    return replace(
        analysis,
        chest=replace(analysis.chest, patient=replace(analysis.chest.patient, patient_name=name)),
    )


def test_name_that_no_font_has_stays_out_of_the_log(
    golden: Analysis, illustrations: Illustrations, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        pdf(named(golden, "ᚠᚢᚦ"), illustrations)
    assert "ᚠ" not in caplog.text


def test_second_page_has_flags_models_methods_and_limits(
    golden: Analysis, illustrations: Illustrations
) -> None:
    first, second = pages(pdf(golden, illustrations))
    for flag in golden.findings.flags:
        assert flag.code in second
        assert flag.message in " ".join(second.split())
    for model in golden.findings.models:
        assert model.sha256 in second
    assert "Methods" in second
    assert "series 7" in first


@pytest.mark.parametrize(
    ("validation", "text"),
    [
        (None, "The classifier is not validated"),
        (Validation("synthetic", 57, 0), "Validated on 57 synthetic chests only"),
        (Validation("external", 474, 6), "Validated on 474 CTs of institutions that training did not see"),
    ],
)
def test_the_probabilities_say_what_they_are_worth(
    golden: Analysis, illustrations: Illustrations, validation: Validation | None, text: str
) -> None:
    told = replace(golden, findings=replace(golden.findings, classifier_validation=validation))
    assert text in " ".join(pages(pdf(told, illustrations))[0].split())
    assert text in html(told, illustrations)


def test_flagged_report_does_not_look_like_a_clean_one(
    golden: Analysis, illustrations: Illustrations
) -> None:
    clean = replace(golden, findings=replace(golden.findings, flags=()))
    flagged = replace(golden, findings=replace(golden.findings, flags=(QualityFlag("LOBE_MISSING", "why"),)))
    assert "No quality flags" in pages(pdf(clean, illustrations))[0]
    assert "1 quality flag: read it before any number" in pages(pdf(flagged, illustrations))[0]
    assert 'class="flags raised"' in html(flagged, illustrations)
    assert 'class="flags"' in html(clean, illustrations)


def test_missing_lobe_says_so_in_its_row(golden: Analysis, illustrations: Illustrations) -> None:
    lobes = {**golden.findings.quantification.lobes, Lobe.RIGHT_MIDDLE: Extent(0.0, 0.0)}
    missing = replace(golden, findings=replace(golden.findings, quantification=score(lobes)))
    assert "Right middle lobe 0 0 not found 0" in " ".join(pages(pdf(missing, illustrations))[0].split())


def test_header_says_what_the_study_does_not_tell(golden: Analysis, illustrations: Illustrations) -> None:
    assert not golden.chest.patient.institution
    assert "Imaging centre unknown" in " ".join(pages(pdf(golden, illustrations))[0].split())


def test_pdf_tells_its_title_language_and_conformance(golden: Analysis, illustrations: Illustrations) -> None:
    file = PdfReader(BytesIO(pdf(golden, illustrations, "fr")))
    assert file.xmp_metadata
    assert "TDM thoracique : analyse d'infection" in (file.xmp_metadata.dc_title or {}).values()
    assert file.trailer["/Root"]["/Lang"] == "fr"
    assert "<pdfaid:part>2" in file.trailer["/Root"]["/Metadata"].get_data().decode()


@pytest.mark.parametrize(("paper", "width_mm"), [("A4", 210.0), ("Letter", 215.9)])
@pytest.mark.parametrize("language", LANGUAGES)
def test_report_has_two_pages_of_the_paper(
    golden: Analysis, illustrations: Illustrations, paper: Any, width_mm: float, language: Language
) -> None:
    file = PdfReader(BytesIO(pdf(golden, illustrations, language, paper=paper)))
    assert len(file.pages) == 2
    assert float(file.pages[0].mediabox.width) / 72 * 25.4 == pytest.approx(width_mm, abs=0.1)


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_report_with_every_flag_there_is_loses_nothing(
    golden: Analysis, illustrations: Illustrations, paper: Any
) -> None:
    codes = [key.removeprefix("flag.") for key in table("de") if key.startswith("flag.")]
    message = "as long a message as they come, with 12.3 % of something"
    flags = tuple(QualityFlag(code, message) for code in codes)
    flagged = replace(golden, findings=replace(golden.findings, flags=flags))
    first, *others = pages(pdf(flagged, illustrations, "de", paper=paper))
    assert "Beteiligung: " in first
    assert f"Seite 1 von {1 + len(others)}" in first
    assert all(code in " ".join(others) for code in codes)


def test_same_analysis_gives_the_same_bytes(golden: Analysis, illustrations: Illustrations) -> None:
    first = pdf(golden, illustrations)
    time.sleep(1.1)  # the clock of a PDF counts seconds
    assert pdf(golden, illustrations) == first


def test_profile_is_the_share_of_each_slice(analysis: Analysis) -> None:
    percent = measure_affected_percent(analysis.anatomy, analysis.opacities)
    lung = np.count_nonzero(analysis.anatomy.lobes, axis=(1, 2))
    assert np.array_equal(np.isnan(percent), lung == 0)
    assert percent[6] == pytest.approx(100 * 14 * 18 / lung[6])
    assert percent[20] == 0


def test_healthy_lungs_are_illustrated_with_the_slice_of_most_lung(analysis: Analysis) -> None:
    healthy = Opacities(np.zeros_like(analysis.opacities.mask), analysis.opacities.model)
    assert illustrate(replace(analysis, opacities=healthy)).slice_key == "picture.most_lung"


@cache
def placeholders(language: Language) -> dict[str, list[str]]:
    return {key: sorted(re.findall(r"\{\w+\}", text)) for key, text in table(language).items()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_all_words_and_placeholders(language: Language) -> None:
    assert placeholders(language) == placeholders("en")
    assert all(text.strip() for text in table(language).values())


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_translations_are_translated(language: Language) -> None:
    same = [key for key, text in table(language).items() if text == table("en")[key] and len(text) > 12]
    assert same == []
