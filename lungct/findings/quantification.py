"""Millilitres per lobe and the 25-point CT severity score (Topff et al. 2023, after Pan et al. 2020)."""

from __future__ import annotations

import numpy as np

from lungct.records import Extent, Involvement, Lobe, LungAnatomy, Opacities, Quantification

SCORE_BANDS_PERCENT = (5.0, 25.0, 50.0, 75.0)
"""Bounds of the scores: below 5 % is 1; up to and including 25, 50 and 75 % is 2, 3 and 4; above is 5
(ADR 0001)."""

MODERATE_FROM = 6
SEVERE_FROM = 15
MAX_SCORE = 25


def quantify(anatomy: LungAnatomy, opacities: Opacities, voxel_ml: float) -> Quantification:
    """Measure lung and opacity volume of every lobe, and score them; ``voxel_ml`` is a voxel's volume."""
    n_labels = len(Lobe) + 1
    counts = np.zeros(2 * n_labels, np.int64)
    # slice by slice, since counting takes 8 bytes a voxel
    for lobes, opaque in zip(anatomy.lobes, opacities.mask, strict=True):
        counts += np.bincount((lobes + np.uint8(n_labels) * opaque).ravel(), minlength=len(counts))
    n_healthy, n_opaque = counts.reshape(2, n_labels)
    return score(
        {
            lobe: Extent(
                lung_ml=float(n_healthy[lobe.label] + n_opaque[lobe.label]) * voxel_ml,
                opacity_ml=float(n_opaque[lobe.label]) * voxel_ml,
            )
            for lobe in Lobe
        }
    )


def score(lobes: dict[Lobe, Extent]) -> Quantification:
    """Score lobes of known volume."""
    lobe_scores = {lobe: score_lobe(extent.opacity_percent) for lobe, extent in lobes.items()}
    severity_score = sum(lobe_scores.values())
    return Quantification(lobes, lobe_scores, severity_score, grade_involvement(severity_score))


def score_lobe(opacity_percent: float | None) -> int:
    """Score a lobe, 0 to 5, from the exact percentage; a missing lobe (None) scores 0."""
    if not opacity_percent:
        return 0
    below_5, *upper_bounds = SCORE_BANDS_PERCENT
    return 1 + int(opacity_percent >= below_5) + sum(opacity_percent > bound for bound in upper_bounds)


def grade_involvement(severity_score: int) -> Involvement:
    """Return the band of the severity score: 0 none, 1-5 mild, 6-14 moderate, 15-25 severe."""
    if severity_score == 0:
        return Involvement.NONE
    if severity_score < MODERATE_FROM:
        return Involvement.MILD
    return Involvement.MODERATE if severity_score < SEVERE_FROM else Involvement.SEVERE
