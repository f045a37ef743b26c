"""The report as one HTML file that opens offline, with all slices to scroll through."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lungct.findings.classification import DECISION_CUT_OFF
from lungct.findings.quantification import MAX_SCORE
from lungct.records import Analysis
from lungct.report.content import ReportContent
from lungct.report.illustrations import SEVERITY_BANDS, Illustrations
from lungct.report.pictures import to_file
from lungct.report.slices import draw_slices


def render_html(analysis: Analysis, content: ReportContent, illustrations: Illustrations) -> str:
    """The whole file.

    Args:
        analysis: whose slices are shown.
        content: what to print.
        illustrations: its pictures.
    """
    words = content.words
    figures = [
        (b64encode(to_file(picture, format="PNG")).decode(), words(key))
        for picture, key in (
            (illustrations.front, "picture.front"),
            (illustrations.left, "picture.left"),
            (illustrations.plain, illustrations.slice_key),
            (illustrations.contours, "picture.contours"),
            (illustrations.coronal, "picture.coronal"),
            (illustrations.profile, "picture.profile"),
        )
    ]
    frames, contours = [], []
    for picture, lines in draw_slices(analysis):
        frames.append(b64encode(picture).decode())
        contours.append(b64encode(lines).decode())
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("report.html.j2").render(
        content=content,
        words=words,
        figures=figures,
        frames=frames,
        contours=contours,
        bands=SEVERITY_BANDS,
        n_scores=MAX_SCORE + 1,
        cut_off_percent=100 * DECISION_CUT_OFF,
        cut_off=words.number(DECISION_CUT_OFF, 2),
    )
