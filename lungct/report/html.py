"""The report as one HTML file that opens offline, with all slices to scroll through."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from lungct.findings.classification import DECISION_CUT_OFF
from lungct.findings.quantification import MAX_SCORE
from lungct.records import Analysis
from lungct.report.content import ReportContent
from lungct.report.illustrations import SEVERITY_BANDS, Illustrations
from lungct.report.pictures import (
    LUNG_RGB,
    OPACITY_RGB,
    Plane,
    cut_transverse,
    mark,
    outline,
    to_file,
    to_grey_levels,
)

LONGEST_SIDE = 400
"""Pixels of a slice, so that 300 slices stay below 10 MB. Own decision."""

JPEG_QUALITY = 80


def render_html(analysis: Analysis, content: ReportContent, illustrations: Illustrations) -> str:
    """Return the whole file: the content with its illustrations, and all slices of the analysis."""
    words = content.words
    figures = [
        (_encode(to_file(picture, format="PNG")), words(key))
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
    for index in reversed(range(len(analysis.chest.volume.volume_hu))):
        picture, lines = _draw_slice(cut_transverse(analysis, index))
        frames.append(_encode(picture))
        contours.append(_encode(lines))
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


def _encode(file: bytes) -> str:
    return b64encode(file).decode()


def _draw_slice(plane: Plane) -> tuple[bytes, bytes]:
    """Draw a slice (JPEG) and its contours (PNG, transparent elsewhere)."""
    height_mm, width_mm = np.multiply(plane.plane_hu.shape, plane.spacing_mm)
    pixels_per_mm = LONGEST_SIDE / max(height_mm, width_mm)
    size = round(width_mm * pixels_per_mm), round(height_mm * pixels_per_mm)
    picture = Image.fromarray(to_grey_levels(plane.plane_hu)).resize(size, Image.Resampling.BILINEAR)
    mark(picture, f"R{plane.doubt}", f"L{plane.doubt}", pixels_per_mm)
    lines = np.zeros(size[::-1], np.uint8)
    for value, mask in enumerate((plane.lobes, plane.opacity), start=1):
        large = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)) > 0
        lines[outline(large)] = value
    contours = Image.fromarray(lines, mode="P")
    contours.putpalette([0, 0, 0, *LUNG_RGB, *OPACITY_RGB])
    return (
        to_file(picture, format="JPEG", quality=JPEG_QUALITY),
        to_file(contours, format="PNG", transparency=0, optimize=False),
    )
