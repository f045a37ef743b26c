"""The parts of the PDF report from top to bottom; each begins where the one before ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from unicodedata import bidirectional

from fpdf import FPDF
from fpdf.fonts import FontFace
from PIL import Image

from lungct.findings.classification import DECISION_CUT_OFF
from lungct.findings.quantification import MAX_SCORE
from lungct.records import Involvement
from lungct.report.content import ReportContent
from lungct.report.glyphs import choose_fonts
from lungct.report.illustrations import SEVERITY_BANDS, Illustrations

Rgb = tuple[int, int, int]

FONT = "DejaVu"
MARGIN_MM = 12.0
GREY: Rgb = (100, 100, 100)
ALERT_RGB: Rgb = (150, 30, 0)

_BLACK: Rgb = (0, 0, 0)
_WHITE: Rgb = (255, 255, 255)
_TRACK_RGB: Rgb = (225, 225, 225)
_BAR_RGB: Rgb = (0, 114, 178)
_ALERT_FILL_RGB: Rgb = (255, 236, 217)
_CLEAN_RGB: Rgb = (0, 90, 60)
_CLEAN_FILL_RGB: Rgb = (226, 243, 236)

_MM_PER_POINT = 0.46
_LINE = 0.55
"""Heights of a line in millimetres per point: of plain text, and in boxes."""

MANY_FLAGS = 12
"""Number of flags from which letters get smaller, so that the conclusion stays on the first page. Own
decision."""

_FROM_RIGHT = ("R", "AL")
_NON_JOINER, _HAIR_SPACE = "\u200c", "\u200a"

_PICTURE_ROWS_MM = (56.0, 52.0)
_SMALLEST_PICTURE_MM = 20.0
_BELOW_PICTURES_MM = 152.0
"""Room for what follows the first row of pictures, which gives way to a long list of flags."""


def write(page: FPDF, text: str, size: float = 8, style: str = "", rgb: Rgb = _BLACK) -> None:
    """Write text over the whole width."""
    page.set_font(FONT, style, size)
    page.set_text_color(*rgb)
    page.multi_cell(page.epw, size * _MM_PER_POINT, text, align="L", new_x="LMARGIN", new_y="NEXT")


def write_header(page: FPDF, content: ReportContent) -> None:
    """Write title, notice, patient and study."""
    write(page, content.words("title"), 15, "B")
    write(page, content.words("notice"), 9, "B", ALERT_RGB)
    page.ln(1)
    _pairs(page, content.header, FontFace(color=_BLACK))
    page.ln(1.5)


def _pairs(page: FPDF, pairs: Sequence[tuple[str, str]], value_style: FontFace) -> None:
    """Write labels and values, two pairs a line."""
    page.set_font(FONT, "", 8)
    with page.table(
        col_widths=(45, 48, 45, 48),
        width=page.epw,
        first_row_as_headings=False,
        text_align="LEFT",
        borders_layout="NONE",
        line_height=4.3,
    ) as table:
        for line in zip(pairs[::2], pairs[1::2], strict=True):
            row = table.row()
            for label, value in line:
                row.cell(label, style=FontFace(color=GREY))
                row.cell(_part_by_space(value), style=replace(value_style, family=_family(value)))


def _family(text: str) -> str:
    """Return the font of the text's script, so that one font shapes all its letters."""
    return next(iter(choose_fonts(text)), FONT)


def _part_by_space(text: str) -> str:
    """Put a hair space for what keeps Persian letters apart: it breaks fpdf2's order from right to left."""
    is_from_right = any(bidirectional(letter) in _FROM_RIGHT for letter in text)
    return text.replace(_NON_JOINER, _HAIR_SPACE) if is_from_right else text


def write_banners(page: FPDF, content: ReportContent) -> None:
    """Write the severe flags, white on red."""
    page.set_fill_color(*ALERT_RGB)
    page.set_text_color(*_WHITE)
    for text in content.banners:
        _fill_line(page, text, 9, "B")
        page.ln(1)


def _fill_line(page: FPDF, text: str, size: float, style: str) -> None:
    page.set_font(FONT, style, size)
    page.multi_cell(
        page.epw, size * _LINE, text, fill=True, align="L", padding=(1, 2), new_x="LMARGIN", new_y="NEXT"
    )


def write_flags(page: FPDF, content: ReportContent) -> None:
    """Draw a box that shows from afar whether anything is odd."""
    rgb, fill = (ALERT_RGB, _ALERT_FILL_RGB) if content.flags else (_CLEAN_RGB, _CLEAN_FILL_RGB)
    page.set_fill_color(*fill)
    page.set_text_color(*rgb)
    _fill_line(page, content.flags_title, 9, "B")
    if content.flags:
        labels = list(dict.fromkeys(flag.label for flag in content.flags))
        size = 8.0 if len(labels) <= MANY_FLAGS else max(8.0 * (MANY_FLAGS / len(labels)) ** 0.5, 5.0)
        _fill_line(page, " · ".join(labels), size, "")
    page.ln(2)


def place_pictures(page: FPDF, content: ReportContent, illustrations: Illustrations) -> None:
    """Place the 3-D pictures, and the transverse slice plain and with contours."""
    words = content.words
    top, width, left = page.get_y(), (page.epw - 9) / 4, page.l_margin
    free = page.h - MARGIN_MM - top - _BELOW_PICTURES_MM
    height = min(_PICTURE_ROWS_MM[0], max(_SMALLEST_PICTURE_MM, free))
    front, side = illustrations.front, illustrations.left
    front_width = (2 * width + 3) * front.width / (front.width + side.width)  # both at one scale
    for picture, key, box_width in (
        (front, "picture.front", front_width),
        (side, "picture.left", 2 * width - front_width),
        (illustrations.plain, illustrations.slice_key, width),
        (illustrations.contours, "picture.contours", width),
    ):
        _place(page, picture, (left, top, box_width, height), words(key))
        _caption(page, left, top + height, box_width, words(key))
        left += box_width + 3
    page.set_y(top + height + 8)


def place_scales(page: FPDF, content: ReportContent, illustrations: Illustrations) -> None:
    """Place coronal view and profile on the left, probabilities and severity on the right."""
    words, top, height, left = content.words, page.get_y(), _PICTURE_ROWS_MM[1], page.l_margin
    box = (left, top, 64.0, height)
    width, shown = _place(page, illustrations.coronal, box, words("picture.coronal"))
    _caption(page, left, top + height, width, words("picture.coronal"))
    left += width + 3
    strip = shown * illustrations.profile.width / illustrations.profile.height
    box = (left, top + height - shown, strip, shown)
    _place(page, illustrations.profile, box, words("picture.profile"))
    _caption(page, left, top + height, 26, words("picture.profile"))
    right = page.l_margin + 94
    page.set_xy(right, top)
    _probabilities(page, content, right)
    page.set_xy(right, page.get_y() + 2)
    _severity(page, content, right)
    page.set_xy(page.l_margin, top + height + 8)


def _place(
    page: FPDF, picture: Image.Image, box: tuple[float, float, float, float], text: str
) -> tuple[float, float]:
    """Put a picture at the bottom of a box (left, top, width, height); return its width and height."""
    left, top, width, height = box
    scale = min(width / picture.width, height / picture.height)
    shown = scale * picture.width, scale * picture.height
    page.image(picture, left, top + height - shown[1], w=shown[0], h=shown[1], alt_text=text)
    return shown


def _caption(page: FPDF, left: float, top: float, width: float, text: str) -> None:
    page.set_xy(left, top + 0.5)
    page.set_font(FONT, "", 6.5)
    page.set_text_color(*GREY)
    page.multi_cell(width, 2.8, text, align="L")


def _heading(page: FPDF, text: str) -> None:
    page.set_font(FONT, "B", 10)
    page.set_text_color(*_BLACK)
    page.cell(0, 5.5, text, new_x="LEFT", new_y="NEXT")


def _box(page: FPDF, left: float, top: float, size: tuple[float, float], rgb: Rgb) -> None:
    page.set_fill_color(*rgb)
    page.rect(left, top, *size, style="F")


def _probabilities(page: FPDF, content: ReportContent, left: float) -> None:
    """Draw gauges from 0 to 1 with the cut-off of the decision rule."""
    _heading(page, content.words("classification"))
    length = page.w - page.r_margin - left - 12
    for probability in content.probabilities:
        page.set_x(left)
        page.set_font(FONT, "", 8)
        page.cell(length, 4, probability.name, new_x="LEFT", new_y="NEXT")
        top = page.get_y()
        _box(page, left, top, (length, 2.6), _TRACK_RGB)
        _box(page, left, top, (length * probability.value, 2.6), _BAR_RGB)
        _box(page, left + length * DECISION_CUT_OFF - 0.2, top - 0.6, (0.4, 3.8), _BLACK)
        page.set_xy(left + length + 2, top - 0.8)
        page.set_font(FONT, "B", 9)
        page.cell(10, 4, probability.text)
        page.set_xy(left, top + 3.6)
    page.set_font(FONT, "", 6.5)
    page.set_text_color(*GREY)
    cut_off = content.words.number(DECISION_CUT_OFF, 2)
    page.cell(0, 3, content.words("cut_off", value=cut_off), new_x="LEFT", new_y="NEXT")
    page.set_text_color(*ALERT_RGB)
    page.multi_cell(0, 2.8, content.validation, align="L", new_x="LEFT", new_y="NEXT")


def _severity(page: FPDF, content: ReportContent, left: float) -> None:
    """Draw the score on a scale of 0 to 25 with its bands."""
    words, score = content.words, content.severity_score
    _heading(page, f"{words('severity')}: {words('of_25', score=score)}")
    top, step = page.get_y() + 1, (page.w - page.r_margin - left) / (MAX_SCORE + 1)
    for band, scores, rgb in SEVERITY_BANDS:
        begin, width = left + scores.start * step, len(scores) * step
        _box(page, begin, top, (width, 4), rgb)
        if band != Involvement.NONE:
            _caption(page, begin, top + 4.8, width, words(f"involvement.{band}"))
    _box(page, left + score * step - 0.4, top - 1.2, (step + 0.8, 6.4), _BLACK)
    _box(page, left + score * step, top - 0.8, (step, 5.6), _WHITE)
    page.set_xy(left + score * step - 2, top)
    page.set_font(FONT, "B", 7)
    page.set_text_color(*_BLACK)
    page.cell(step + 4, 4, str(score), align="C")


def write_regions(page: FPDF, content: ReportContent) -> None:
    """Write the table of lobes and lungs."""
    page.set_x(page.l_margin)
    write(page, content.words("quantification"), 10, "B")
    page.set_font(FONT, "", 8)
    with page.table(
        col_widths=(66, 31, 31, 31, 27),
        width=page.epw,
        line_height=4.4,
        borders_layout="HORIZONTAL_LINES",
        text_align=("LEFT", "RIGHT", "RIGHT", "RIGHT", "RIGHT"),
    ) as table:
        table.row(content.columns)
        for region in content.lobes:
            table.row(region)
        for region in content.lungs:
            table.row(region, style=FontFace(fill_color=(243, 243, 243)))
    page.ln(2)


def write_conclusion(page: FPDF, content: ReportContent) -> None:
    """Write the totals, infection and involvement, and which series was analysed."""
    _pairs(page, content.totals, FontFace(emphasis="BOLD"))
    page.ln(1)
    for label, value in content.conclusion:
        write(page, f"{label}: {value}", 11, "B")
    page.ln(1)
    for text in content.series:
        write(page, text, 7, rgb=GREY)


def write_details(page: FPDF, content: ReportContent) -> None:
    """Write the second page: flags with numbers, models, methods and limits."""
    words = content.words
    write(page, content.flags_title, 11, "B", ALERT_RGB if content.flags else _CLEAN_RGB)
    for flag in content.flags:
        write(page, f"{flag.label}: {flag.message} ({flag.code})", 8)
        page.ln(0.8)
    for key, texts in (
        ("methods", content.methods),
        ("limits", content.limits),
        ("models", content.models),
        ("software", (content.software,)),
    ):
        page.ln(2)
        write(page, words(key), 11, "B")
        for text in texts:
            write(page, text, 8)
            page.ln(0.8)
