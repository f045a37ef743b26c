"""The 3-D picture shows what lies where, and the report of a phantom looks as it was approved."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pypdfium2
import pytest
from PIL import Image

from lungct.findings.quantification import quantify
from lungct.records import Analysis, BronchovascularTree, CtVolume, LungAnatomy, Opacities
from lungct.records.orientation import to_canonical
from lungct.report.content import write_content
from lungct.report.illustrations import illustrate
from lungct.report.pdf import render_pdf
from lungct.report.pictures import PIXELS_PER_MM
from lungct.report.rendering import MARGIN_MM, render_lungs
from lungct.report.wording import Wording
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.thorax import make_thorax

APPROVED = Path(__file__).parent / "approved"
TOLERANCE = 4.0
"""Mean difference of grey levels, of 255, below which two pages look the same."""

SPACING_MM = (5.0, 2.8, 2.8)

Pixels = npt.NDArray[np.float64]


def render(analysis: Analysis, opacity: bool = True) -> tuple[Pixels, Pixels]:
    mask = analysis.opacities.mask
    nothing = np.zeros_like(mask)
    front, left = render_lungs(
        analysis.chest.volume,
        analysis.anatomy.lobes,
        mask if opacity else nothing,
        BronchovascularTree(nothing, nothing),
    )
    return np.asarray(front, float), np.asarray(left, float)


def colour(pixels: Pixels, top: float, left: float) -> Pixels:
    """Mean colour of a patch around a place, in shares of height and width."""
    row, column = int(top * pixels.shape[0]), int(left * pixels.shape[1])
    return pixels[row - 5 : row + 5, column - 5 : column + 5].mean(axis=(0, 1))


def test_lobes_are_where_a_viewer_in_front_expects_them(analysis: Analysis) -> None:
    """Right upper green, right lower purple, left upper blue: head up, the patient's right on the left."""
    front, _ = render(analysis, opacity=False)
    red, green, blue = colour(front, 0.25, 0.28)
    assert green > max(red, blue)
    red, green, blue = colour(front, 0.75, 0.35)
    assert green < min(red, blue)
    red, green, blue = colour(front, 0.25, 0.72)
    assert red < green < blue


def opacity_places(analysis: Analysis) -> list[tuple[float, float]]:
    """Where opacities change the views: mean row and column, in shares of height and width."""
    places = []
    for with_opacity, healthy in zip(render(analysis), render(analysis, opacity=False), strict=True):
        changed = np.abs(with_opacity - healthy).sum(axis=2) > 30
        row, column = np.argwhere(changed).mean(axis=0) / changed.shape
        places.append((float(row), float(column)))
    return places


def test_opacities_are_seen_through_the_lobes_in_both_views(analysis: Analysis) -> None:
    """The opacity lies in the lower back of the right lung; from the left, the front is on the left."""
    (front_row, front_column), (side_row, side_column) = opacity_places(analysis)
    assert front_row > 0.55
    assert front_column < 0.45
    assert side_row == pytest.approx(front_row, abs=0.03)
    assert side_column > 0.55


def test_both_views_have_the_scale_that_the_bar_says(analysis: Analysis) -> None:
    front, left = render(analysis)
    width_mm, depth_mm, height_mm = 160, 60, 96
    for pixels, size_mm in ((front, (height_mm, width_mm)), (left, (height_mm, depth_mm))):
        expected = (np.array(size_mm) + 2 * MARGIN_MM) * PIXELS_PER_MM
        assert np.allclose(pixels.shape[:2], expected, atol=4)


def test_nothing_to_draw_is_white(analysis: Analysis) -> None:
    nothing = np.zeros_like(analysis.anatomy.lobes)
    tree = BronchovascularTree(nothing, nothing)
    front, _ = render_lungs(analysis.chest.volume, nothing, nothing, tree)
    assert (np.asarray(front)[30:60, 100:200] == 255).all()


def test_airways_and_vessels_are_drawn_where_there_are_some(analysis: Analysis) -> None:
    tube = np.zeros_like(analysis.anatomy.lobes)
    tube[:, 28:32, 48:52] = 1
    lobes, nothing = analysis.anatomy.lobes, np.zeros_like(tube)
    tree = BronchovascularTree(airways=tube, vessels=tube)
    front, _ = render_lungs(analysis.chest.volume, lobes, nothing, tree)
    assert colour(np.asarray(front, float), 0.2, 0.5).max() < 160


@pytest.fixture(scope="module")
def phantom_analysis(analysis: Analysis) -> Analysis:
    phantom = make_thorax(1, SPACING_MM, disease=Disease.COVID19)
    affine_lps = np.diag([*SPACING_MM[::-1], 1.0])[[0, 1, 2, 3]][:, [2, 1, 0, 3]]
    volume = to_canonical(CtVolume(phantom.volume_hu, affine_lps))
    model = analysis.anatomy.model
    anatomy, opacities = LungAnatomy(phantom.lobes, model), Opacities(phantom.opacity, model)
    quantification = quantify(anatomy, opacities, volume.voxel_ml)
    return replace(
        analysis,
        chest=replace(analysis.chest, source=volume, volume=volume),
        anatomy=anatomy,
        opacities=opacities,
        tree=BronchovascularTree(phantom.airways, phantom.vessels),
        findings=replace(analysis.findings, quantification=quantification),
    )


def test_report_of_a_phantom_looks_as_approved(phantom_analysis: Analysis, tmp_path: Path) -> None:
    """After a wanted change look at the new picture, then put it in place of the approved one."""
    content = write_content(phantom_analysis, Wording("en"))
    file = render_pdf(content, illustrate(phantom_analysis), datetime(2026, 1, 2, 3, 4, 5))
    page = pypdfium2.PdfDocument(file)[0].render(scale=0.6).to_pil().convert("L")
    page.save(tmp_path / "page.png")
    approved = Image.open(APPROVED / "page.png")
    assert page.size == approved.size
    difference = np.abs(np.asarray(page, float) - np.asarray(approved, float))
    assert difference.mean() < TOLERANCE, f"look at {tmp_path / 'page.png'}"
