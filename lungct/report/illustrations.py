"""The pictures of the report, made once for PDF and HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from lungct.anatomy.solid_lung import find_solid_lung
from lungct.findings.quantification import MAX_SCORE, MODERATE_FROM, SEVERE_FROM
from lungct.records import Analysis, Involvement, LungAnatomy, Opacities
from lungct.report.pictures import (
    LUNG_RGB,
    OPACITY_RGB,
    PIXELS_PER_MM,
    Plane,
    crop_to_lungs,
    cut_coronal,
    cut_transverse,
    doubt_sides,
    draw,
    find_most_affected_slice,
)
from lungct.report.rendering import render_lungs

PROFILE_WIDTH = 220
PALE_LUNG_RGB = tuple(255 - (255 - level) // 4 for level in LUNG_RGB)

SMALLEST_SHARE_OF_LUNG = 0.05
"""Smallest share of the largest lung area on a slice of which a percentage says anything. Own decision."""

SEVERITY_BANDS: Final = (
    (Involvement.NONE, range(1), (225, 225, 225)),
    (Involvement.MILD, range(1, MODERATE_FROM), (150, 195, 225)),
    (Involvement.MODERATE, range(MODERATE_FROM, SEVERE_FROM), (230, 159, 0)),
    (Involvement.SEVERE, range(SEVERE_FROM, MAX_SCORE + 1), (180, 50, 20)),
)
"""Scores and colours, of different lightness, so that any colour vision and printer keeps them apart."""


@dataclass(frozen=True, eq=False)
class Illustrations:
    """Pictures, each with side marks and a scale.

    Attributes:
        front, left: the lungs in three dimensions, from two sides.
        plain: the most affected transverse slice; without opacities, the one with most lung.
        contours: the same slice with lungs and opacities outlined.
        coronal: plane through the middle of the lungs, or through most solid lung where that is flagged.
        profile: affected percentage of every slice, as high as ``coronal``.
        slice_key: key of the caption of ``plain``.
    """

    front: Image.Image
    left: Image.Image
    plain: Image.Image
    contours: Image.Image
    coronal: Image.Image
    profile: Image.Image
    slice_key: str


def illustrate(analysis: Analysis) -> Illustrations:
    """Draw all pictures of an analysis."""
    volume, anatomy, opacities = analysis.chest.volume, analysis.anatomy, analysis.opacities
    plane = crop_to_lungs(cut_transverse(analysis, find_most_affected_slice(analysis)), anatomy.lobes)
    front, left = render_lungs(volume, anatomy.lobes, opacities.mask, analysis.tree, doubt_sides(analysis))
    coronal_plane = cut_coronal(analysis, _choose_coronal_row(analysis))
    return Illustrations(
        front=front,
        left=left,
        plain=draw(plane, contours=False),
        contours=draw(plane, contours=True),
        coronal=draw(coronal_plane, contours=True),
        profile=draw_profile(measure_affected_percent(anatomy, opacities), coronal_plane),
        slice_key="picture.most_opacity" if opacities.mask.any() else "picture.most_lung",
    )


def _choose_coronal_row(analysis: Analysis) -> int:
    """Return the row with most solid lung far from air where that is flagged, otherwise the middle one."""
    lobes = analysis.anatomy.lobes
    if any(flag.code == "SOLID_LUNG" for flag in analysis.findings.flags):
        solid = find_solid_lung(analysis.chest.volume, lobes).mask
        return int(np.count_nonzero(solid, axis=(0, 2)).argmax())
    rows = np.flatnonzero(lobes.any(axis=(0, 2)))
    return int(rows.mean()) if rows.size else lobes.shape[1] // 2


def measure_affected_percent(anatomy: LungAnatomy, opacities: Opacities) -> npt.NDArray[np.float64]:
    """Return which percentage of the lung is opacity ``[slices]``; nan where a slice has hardly any lung."""
    lung = np.count_nonzero(anatomy.lobes, axis=(1, 2))
    opacity = np.count_nonzero(opacities.mask, axis=(1, 2))
    enough = lung > SMALLEST_SHARE_OF_LUNG * lung.max()
    return np.where(enough, 100.0 * opacity / np.maximum(lung, 1), np.nan)


def draw_profile(percent: npt.NDArray[np.float64], beside: Plane) -> Image.Image:
    """Draw bars from head to feet, in line with a coronal picture.

    Args:
        percent: ``[slices]``, slice 0 most caudal; nan where there is hardly any lung.
        beside: the coronal plane that is drawn beside it.
    """
    height = round(beside.plane_hu.shape[0] * beside.spacing_mm[0] * PIXELS_PER_MM)
    largest = max(1.0, float(np.nanmax(percent, initial=0.0)))
    font_size = height // 20
    left, right = font_size // 2, PROFILE_WIDTH - font_size // 2
    picture = Image.new("RGB", (PROFILE_WIDTH, height), "white")
    pen = ImageDraw.Draw(picture)
    edges = np.linspace(0, height, len(percent) + 1)
    for top, bottom, value in zip(edges, edges[1:], percent[::-1], strict=False):
        if np.isfinite(value):
            width = (right - left) * value / largest
            pen.rectangle((left, top, right, bottom), fill=PALE_LUNG_RGB)
            pen.rectangle((left, top, left + width, bottom), fill=OPACITY_RGB)
    pen.line((left, 0, left, height), fill="black", width=2)
    pen.text((left + 2, height - 2), "0", anchor="lb", font_size=font_size, fill="black")
    pen.text((right, height - 2), f"{largest:.0f} %", anchor="rb", font_size=font_size, fill="black")
    return picture
