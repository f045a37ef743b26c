"""A diaphragm that rises presses the lung together and takes the organs with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lungct_research.synthesis.diaphragm import heights_before, measure_extent, raise_diaphragm

SPACING_MM = (2.5, 2.5, 2.5)
LEFT, RIGHT = slice(34, 54), slice(6, 26)
"""Columns of the two lungs of 60: left lies at higher columns."""


@pytest.fixture
def lungs() -> np.ndarray:
    mask = np.zeros((100, 40, 60), bool)
    for columns in (LEFT, RIGHT):
        mask[30:90, 8:32, columns] = True
    return mask


def base_of(raised: np.ndarray, columns: slice) -> float:
    """Height in mm at which the middle of a lung begins."""
    middle = (columns.start + columns.stop) // 2
    return float(np.flatnonzero(raised[:, 20, middle] > 0.5)[0]) * SPACING_MM[0]


@pytest.mark.parametrize("rise_mm", [30.0, 50.0, 80.0])
def test_only_the_side_that_is_asked_for_rises(lungs: np.ndarray, rise_mm: float) -> None:
    raised = raise_diaphragm(lungs, lungs, SPACING_MM, left_mm=rise_mm, right_mm=0.0)
    assert base_of(raised, LEFT) == pytest.approx(75.0 + rise_mm, abs=6.0)
    assert base_of(raised, RIGHT) == pytest.approx(75.0, abs=2.5)


def test_apices_stay_where_they_are(lungs: np.ndarray) -> None:
    raised = raise_diaphragm(lungs, lungs, SPACING_MM, 80.0, 80.0) > 0.5
    assert np.flatnonzero(raised.any(axis=(1, 2)))[-1] == 89


def test_nothing_changes_without_a_rise(lungs: np.ndarray) -> None:
    volume = np.random.default_rng(0).normal(size=lungs.shape).astype(np.float32)
    assert np.allclose(raise_diaphragm(volume, lungs, SPACING_MM, 0.0, 0.0), volume)


def test_heights_keep_their_order(lungs: np.ndarray) -> None:
    extent = measure_extent(torch.from_numpy(lungs))
    before = heights_before(torch.arange(100.0)[:, None], torch.arange(60.0)[None], extent, (32.0, 8.0), 4.0)
    assert bool((before.diff(dim=0) >= 0).all())


def test_organs_rise_with_the_diaphragm(lungs: np.ndarray) -> None:
    liver = np.zeros(lungs.shape, np.float32)
    liver[20:30, 8:32, RIGHT] = 1
    raised = raise_diaphragm(liver, lungs, SPACING_MM, left_mm=0.0, right_mm=50.0)
    assert np.flatnonzero(raised[:, 20, 16] > 0.5)[0] == pytest.approx(40, abs=2)
