"""Volumes and scores; the golden is Fig. 5 of Topff et al. 2023."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungct.findings.quantification import grade_involvement, quantify, score, score_lobe
from lungct.records import Extent, Involvement, Lobe, LungAnatomy, ModelInfo, Opacities
from lungct.report.content import format_percent
from lungct.report.wording import Wording

MODEL = ModelInfo("test", "0", "0", provisional=True)

FIGURE_5 = {
    Lobe.LEFT_UPPER: Extent(1336, 83),
    Lobe.LEFT_LOWER: Extent(1609, 169),
    Lobe.RIGHT_UPPER: Extent(989, 101),
    Lobe.RIGHT_MIDDLE: Extent(787, 37),
    Lobe.RIGHT_LOWER: Extent(1633, 115),
}


def test_figure_5_scores_9_moderate() -> None:
    result = score(FIGURE_5)
    assert list(result.lobe_scores.values()) == [2, 2, 2, 1, 2]
    assert result.severity_score == 9
    assert result.involvement is Involvement.MODERATE


def test_figure_5_totals() -> None:
    result = score(FIGURE_5)
    assert result.left_lung == Extent(2945, 252)
    assert result.total.lung_ml == pytest.approx(6356, abs=2)
    assert result.total.opacity_ml == pytest.approx(506, abs=2)
    assert result.total.opacity_percent == pytest.approx(7.97, abs=0.03)


@pytest.mark.parametrize(
    ("percent", "expected"),
    [
        *[(None, 0), (0, 0), (1e-9, 1), (4.999, 1), (5, 2), (25, 2)],
        *[(25.001, 3), (50, 3), (50.001, 4), (75, 4), (75.001, 5), (100, 5)],
    ],
)
def test_lobe_score_bands(percent: float | None, expected: int) -> None:
    assert score_lobe(percent) == expected


@given(st.floats(0, 100), st.floats(0, 100))
def test_lobe_score_never_falls_with_more_opacity(percent: float, other: float) -> None:
    low, high = sorted((percent, other))
    assert score_lobe(low) <= score_lobe(high)


@pytest.mark.parametrize(
    ("severity_score", "expected"),
    [
        (0, "none"),
        (1, "mild"),
        (5, "mild"),
        (6, "moderate"),
        (14, "moderate"),
        (15, "severe"),
        (25, "severe"),
    ],
)
def test_involvement_bands(severity_score: int, expected: str) -> None:
    assert grade_involvement(severity_score) == expected


def test_missing_lobe_scores_zero_and_has_no_percentage() -> None:
    result = score(FIGURE_5 | {Lobe.RIGHT_MIDDLE: Extent(0, 0)})
    assert result.lobe_scores[Lobe.RIGHT_MIDDLE] == 0
    assert result.lobes[Lobe.RIGHT_MIDDLE].opacity_percent is None


@pytest.mark.parametrize(("opacity_ml", "text"), [(4.7, "4.7"), (0.25, "0.2"), (0.75, "0.8"), (0, "0.0")])
def test_percentages_are_rounded_half_even_to_one_decimal(opacity_ml: float, text: str) -> None:
    assert format_percent(Extent(100, opacity_ml), Wording("en")) == text


def test_millilitres_are_voxels_times_voxel_volume() -> None:
    lobes = np.zeros((2, 3, 5), np.uint8)
    lobes[0] = Lobe.LEFT_LOWER.label
    lobes[1, 0] = Lobe.RIGHT_MIDDLE.label
    opacity = np.zeros_like(lobes)
    opacity[0, 0] = 1
    result = quantify(LungAnatomy(lobes, MODEL), Opacities(opacity, MODEL), voxel_ml=0.5)
    assert result.lobes[Lobe.LEFT_LOWER] == Extent(7.5, 2.5)
    assert result.lobes[Lobe.RIGHT_MIDDLE] == Extent(2.5, 0)
    assert result.lobes[Lobe.LEFT_UPPER] == Extent(0, 0)
    assert result.right_lung == Extent(2.5, 0)


def test_opacity_outside_the_lobes_is_not_counted() -> None:
    lobes = np.zeros((1, 2, 2), np.uint8)
    result = quantify(LungAnatomy(lobes, MODEL), Opacities(np.ones_like(lobes), MODEL), voxel_ml=1)
    assert result.total == Extent(0, 0)
