"""Measures of lobes on labels small enough to count by hand, and the pictures to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungct.records import BronchovascularTree, CtVolume, Lobe, LungAnatomy, MaskArray, ModelInfo
from lungct.records.orientation import canonical_volume
from lungct.report.pictures import LOBE_RGB
from lungct_research.datasets.case import Case
from lungct_research.evaluation import cases
from lungct_research.evaluation.lobes import (
    evaluate,
    lobe_dice,
    measure_expert_lungs,
    measure_known_lobes,
    measure_labelled_slices,
    shares_of_lung,
    widen_range,
)
from lungct_research.evaluation.montage import AXIAL_AT, CORONAL_AT, SAGITTAL_AT, TILE_PIXELS, draw_montage

UPPER, LOWER = Lobe.LEFT_UPPER.label, Lobe.LEFT_LOWER.label
SHAPE = (4, 6, 6)
N_TILES = len(AXIAL_AT + CORONAL_AT + SAGITTAL_AT)


def volume() -> CtVolume:
    return canonical_volume(np.full(SHAPE, -800, np.int16), (2.0, 1.0, 1.0))


def two_lobes(border: int) -> MaskArray:
    """Left upper lobe above the slice ``border``, left lower lobe below; 16 voxels a slice."""
    lobes = np.zeros(SHAPE, np.uint8)
    lobes[border:, 1:5, 1:5] = UPPER
    lobes[:border, 1:5, 1:5] = LOWER
    return lobes


def test_lobe_that_neither_has_agrees() -> None:
    assert lobe_dice(two_lobes(2), two_lobes(2))["right_middle"] == 1.0


def test_misplaced_border_costs_both_lobes_but_not_the_lungs() -> None:
    """32 voxels each are true; 48 and 16 were found."""
    scores = lobe_dice(two_lobes(1), two_lobes(2))
    assert scores["left_upper"] == pytest.approx(2 * 32 / (48 + 32))
    assert scores["left_lower"] == pytest.approx(2 * 16 / (16 + 32))
    assert scores["lungs"] == 1.0


def test_table_names_the_worst_case_and_the_volume_error() -> None:
    known = [Case("good", volume(), lobes=two_lobes(2)), Case("bad", volume(), lobes=two_lobes(1))]
    measured = measure_known_lobes(known, lambda _: two_lobes(2))
    assert measured["n"] == 2
    assert measured["dice_worst_case"]["case"] == "bad"
    assert measured["volume_error_mean_abs"]["left_lower"] == pytest.approx((0 + 1.0) / 2)


def test_recall_inside_opacities_is_of_the_opacities_alone() -> None:
    lungs, opacity = (two_lobes(2) > 0).astype(np.uint8), np.zeros(SHAPE, np.uint8)
    opacity[0, 1:5, 1:5] = 1
    found = two_lobes(2)
    found[0, 1:3] = 0
    measured = measure_expert_lungs([Case("case", volume(), opacity, lungs)], lambda _: found)["case"]
    assert measured == {"recall": 0.875, "dice": 0.933, "recall_in_opacities": 0.5}


def test_infected_lobe_must_be_there_on_its_slices() -> None:
    infected = {Lobe.LEFT_LOWER: np.array([True, True, True, False])}
    chests = [Case("case", volume(), lobe_infected=infected)]
    measured = measure_labelled_slices(chests, lambda _: two_lobes(2))["case"]
    assert measured == {"present": 0.667, "n": 3}


def test_validation_looks_at_no_test_chest(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def anatomies(_: Path, part: str, *, infected: bool) -> list[Case]:
        asked.append((part, infected))
        return [Case("case", volume(), lobes=two_lobes(2))]

    def phantoms(part: str) -> list[Case]:
        return anatomies(Path(), part, infected=False)

    monkeypatch.setattr(cases, "anatomies", anatomies)
    monkeypatch.setattr(cases, "phantoms", phantoms)
    measured = evaluate(Path(), lambda _: two_lobes(2), "validation")
    assert asked == [("validation", False), ("validation", True), ("validation", False)]
    assert list(measured) == ["anatomies_validation", "anatomies_validation_infected", "phantoms"]


def test_validation_and_test_share_no_phantom() -> None:
    assert not set(cases.PHANTOM_SEEDS["test"]) & set(cases.PHANTOM_SEEDS["validation"])


def test_share_of_a_lobe_is_that_of_its_own_lung() -> None:
    lobes = np.repeat(np.array([1, 2, 3, 4, 5], np.uint8), [30, 10, 5, 5, 10]).reshape(5, 4, 3)
    assert list(shares_of_lung(lobes).values()) == [0.75, 0.25, 0.25, 0.25, 0.5]


def test_range_is_widened_by_a_quarter_of_its_width_on_both_sides() -> None:
    assert widen_range([0.2, 0.6, 0.4]) == (pytest.approx(0.1), pytest.approx(0.7))


def test_montage_draws_borders_in_the_colour_of_the_lobe_with_the_head_up() -> None:
    anatomy = LungAnatomy(two_lobes(2), ModelInfo("lungs", "0", "0", provisional=True))
    nothing = np.zeros(volume().volume_hu.shape, np.uint8)
    picture = np.asarray(draw_montage(volume(), anatomy, BronchovascularTree(nothing, nothing)))
    assert picture.shape[0] == 3 * TILE_PIXELS
    outlined = picture[TILE_PIXELS : 2 * TILE_PIXELS, : N_TILES * TILE_PIXELS]
    rows = [
        np.nonzero((outlined == LOBE_RGB[lobe]).all(axis=2))[0] for lobe in (Lobe.LEFT_UPPER, Lobe.LEFT_LOWER)
    ]
    coronal = [rows_of[rows_of > 0] for rows_of in rows]
    assert all(part.size for part in coronal)
    assert coronal[0].min() < coronal[1].max()
