"""The PDF report on one page, structured like Fig. 5 of Topff et al. 2023."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

import numpy as np
from fpdf import FPDF
from fpdf.fonts import FontFace
from PIL import Image

import lungct
from lungct.records import Analysis, Chest, Diagnosis, Extent, Findings, Lobe, Quantification, Series
from lungct.report.pictures import coronal, draw, most_affected_slice, transverse
from lungct.report.result import NOTICE

REPORT_FILE = "report.pdf"

DIAGNOSIS_TEXT = {
    Diagnosis.COVID19: "potential COVID-19",
    Diagnosis.OTHER_INFECTION: "other type of pulmonary infection",
    Diagnosis.NO_INFECTION: "no imaging signs of infection",
}

_FONTS = Path(__file__).parent / "fonts"
_FONT = "DejaVu"
_WIDTH_MM = 180.0
_GREY = (110, 110, 110)
_BAR_RGB = (0, 114, 178)
_ALERT_RGB = (178, 34, 34)

logging.getLogger("fpdf").setLevel(logging.ERROR)
"""Its warnings quote the characters of a patient's name that a font lacks."""


def pdf_report(analysis: Analysis, created: datetime) -> bytes:
    """The report as a PDF file.

    Args:
        analysis: what to print.
        created: creation date of the document, local time.
    """
    findings = analysis.findings
    page = _new_page(created)
    _header(page, analysis.chest)
    _pictures(page, analysis)
    _probabilities(page, findings)
    _table(page, findings.quantification)
    _summary(page, findings)
    _flags_and_methods(page, analysis.chest, findings)
    return bytes(page.output())


def percent_text(extent: Extent) -> str:
    """One decimal, half to even from the exact value (ADR 0004); a missing region says so."""
    percent = extent.opacity_percent
    return "not found" if percent is None else f"{percent:.1f}"


def _new_page(created: datetime) -> FPDF:
    page = FPDF(format="A4")
    page.set_creation_date(created)
    page.set_title("Chest CT infection analysis")
    page.set_lang("en")
    page.set_creator(f"lungct {lungct.__version__}")
    page.add_font(_FONT, fname=_FONTS / "DejaVuSans.ttf")
    page.add_font(_FONT, "B", fname=_FONTS / "DejaVuSans-Bold.ttf")
    page.set_margin(15)
    page.set_auto_page_break(auto=False)
    page.add_page()
    return page


def _line(
    page: FPDF, text: str, size: float = 8, style: str = "", rgb: tuple[int, int, int] = (0, 0, 0)
) -> None:
    page.set_font(_FONT, style, size)
    page.set_text_color(*rgb)
    page.multi_cell(_WIDTH_MM, size * 0.5, text, align="L", new_x="LMARGIN", new_y="NEXT")


def _header(page: FPDF, chest: Chest) -> None:
    patient = chest.patient
    _line(page, "Chest CT infection analysis", 15, "B")
    _line(page, NOTICE, 9, "B", _ALERT_RGB)
    rows = (
        ("Imaging centre", patient.institution, "Patient name", patient.patient_name),
        ("Study", patient.study_description, "Patient ID", patient.patient_id),
        ("Study date", _iso_date(patient.study_date), "Modality", "CT"),
    )
    page.ln(1)
    page.set_font(_FONT, "", 8)
    with page.table(
        col_widths=(27, 63, 27, 63),
        width=_WIDTH_MM,
        first_row_as_headings=False,
        borders_layout="NONE",
        line_height=4.5,
    ) as table:
        for row in rows:
            cells = table.row()
            for position, text in enumerate(row):
                cells.cell(text, style=FontFace(color=_GREY if position % 2 == 0 else (0, 0, 0)))


def _iso_date(dicom_date: str) -> str:
    is_full = len(dicom_date) == 8 and dicom_date.isdecimal()
    return f"{dicom_date[:4]}-{dicom_date[4:6]}-{dicom_date[6:]}" if is_full else dicom_date


def _pictures(page: FPDF, analysis: Analysis) -> None:
    chest, anatomy, opacities = analysis.chest, analysis.anatomy, analysis.opacities
    slice_index = most_affected_slice(anatomy, opacities)
    plane = transverse(chest.volume, anatomy, opacities, slice_index)
    rows = np.flatnonzero(anatomy.lobes.any(axis=(0, 2)))
    middle_row = int(rows.mean()) if rows.size else anatomy.lobes.shape[1] // 2
    widest = "Most affected transverse slice" if opacities.mask.any() else "Transverse slice with most lung"
    pictures = (
        (draw(plane, contours=False), widest),
        (draw(plane, contours=True), "with lungs (blue) and opacities (orange)"),
        (draw(coronal(chest.volume, anatomy, opacities, middle_row), contours=True), "Coronal"),
    )
    top, height = page.get_y() + 2, 52.0
    left = page.l_margin
    for picture, caption in pictures:
        left += _place(page, picture, caption, (left, top, height)) + 3
    page.set_y(top + height + 6)


def _place(page: FPDF, picture: Image.Image, caption: str, box: tuple[float, float, float]) -> float:
    left, top, height = box
    width = min(58.0, height * picture.width / picture.height)
    page.image(picture, left, top, w=width, h=height, keep_aspect_ratio=True, alt_text=caption)
    page.set_font(_FONT, "", 6.5)
    page.set_text_color(*_GREY)
    page.text(left, top + height + 3, caption)
    return 58.0


def _probabilities(page: FPDF, findings: Findings) -> None:
    _line(page, "Lung disease classification", 10, "B")
    probabilities = findings.probabilities
    for name, probability in (
        ("COVID-19", probabilities.covid19),
        ("Other type of pulmonary infection", probabilities.other_infection),
        ("No imaging signs of infection", probabilities.no_infection),
    ):
        page.set_font(_FONT, "", 8)
        page.set_text_color(0, 0, 0)
        page.cell(62, 5, name)
        left, top = page.get_x(), page.get_y() + 1
        page.set_fill_color(225, 225, 225)
        page.rect(left, top, 90, 3, style="F")
        page.set_fill_color(*_BAR_RGB)
        page.rect(left, top, 90 * probability, 3, style="F")
        page.set_x(left + 93)
        page.cell(20, 5, f"{probability:.2f}", new_x="LMARGIN", new_y="NEXT")
    page.set_fill_color(255, 255, 255)
    page.ln(1)


def _table(page: FPDF, quantification: Quantification) -> None:
    _line(page, "Quantitative analysis", 10, "B")
    regions: list[tuple[str, Extent, str]] = [
        (
            f"{lobe.replace('_', ' ').capitalize()} lobe",
            quantification.lobes[lobe],
            str(quantification.lobe_scores[lobe]),
        )
        for lobe in Lobe
    ]
    regions += [
        ("Left lung", quantification.left_lung, ""),
        ("Right lung", quantification.right_lung, ""),
        ("Total", quantification.total, str(quantification.severity_score)),
    ]
    page.set_font(_FONT, "", 8)
    page.set_text_color(0, 0, 0)
    with page.table(
        col_widths=(52, 32, 32, 32, 32),
        width=_WIDTH_MM,
        line_height=4.6,
        borders_layout="HORIZONTAL_LINES",
        text_align=("LEFT", "RIGHT", "RIGHT", "RIGHT", "RIGHT"),
    ) as table:
        table.row(("", "Lung (mL)", "Opacity (mL)", "Opacity (%)", "Score"))
        for name, extent, score in regions:
            table.row(
                (name, f"{extent.lung_ml:.0f}", f"{extent.opacity_ml:.0f}", percent_text(extent), score)
            )
    page.ln(2)


def _summary(page: FPDF, findings: Findings) -> None:
    quantification = findings.quantification
    _line(page, f"Infection: {DIAGNOSIS_TEXT[findings.diagnosis]}", 10, "B")
    _line(
        page,
        f"Involvement: {quantification.involvement}, CT severity score {quantification.severity_score} of 25",
        10,
        "B",
    )
    page.ln(1)


def _flags_and_methods(page: FPDF, chest: Chest, findings: Findings) -> None:
    _line(page, "Quality flags", 9, "B")
    for flag in findings.flags:
        _line(page, f"• {flag.message} ({flag.code})", 7.5, rgb=_ALERT_RGB)
    if not findings.flags:
        _line(page, "none", 7.5)
    page.ln(1)
    if chest.selection.chosen:
        _line(page, f"Analysed: {_series_text(chest.selection.chosen)}", 7, rgb=_GREY)
    models = ", ".join(f"{model.name} {model.version} ({model.sha256[:8]})" for model in findings.models)
    _line(page, f"lungct {lungct.__version__}; models: {models}", 7, rgb=_GREY)


def _series_text(series: Series) -> str:
    thickness = "unknown" if series.slice_thickness_mm is None else f"{series.slice_thickness_mm:g} mm"
    return f"{series.name}, slice thickness {thickness}, kernel {series.kernel or 'unknown'}"
