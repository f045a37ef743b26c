"""Agreement of found and true opacities: pure functions on arrays, estimates with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.surface_distance import compute_average_surface_distance
from scipy import stats

N_RESAMPLES = 1000
CONFIDENCE = 0.95
SEED = 0
"""Resamples of the bootstrap, level of its intervals, start of its random numbers. Own decision."""

HAUSDORFF_PERCENTILE = 95.0
"""Percentile that is usual for segmentations, since the maximum hangs on a single voxel."""

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % bootstrap interval from ``low`` to ``high``, and the number of cases.

    The value is None where it is not defined, the interval also where there are fewer than two cases.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def rounded(self) -> dict[str, Any]:
        """Return the fields for JSON, with three decimals."""
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}


def with_interval(statistic: Callable[..., float], *columns: npt.ArrayLike) -> Estimate:
    """Estimate a statistic of cases; cases are resampled whole.

    Args:
        statistic: takes one array a column, all of one length; NaN where it is not defined.
        columns: one value a case, paired.
    """
    data = [np.asarray(column) for column in columns]
    if not len(data[0]):
        return Estimate(None, None, None, 0)
    (estimate,) = with_intervals(
        lambda cases: {"": float(statistic(*(column[cases] for column in data)))}, np.arange(len(data[0]))
    ).values()
    return estimate


def with_intervals(
    measure: Callable[[np.ndarray], dict[str, float]], groups: npt.ArrayLike, n_resamples: int = N_RESAMPLES
) -> dict[str, Estimate]:
    """Estimate several statistics at once with percentile bootstrap intervals; groups are resampled whole.

    Args:
        measure: returns statistics by name, given the indices of cases; NaN where one is not defined.
        groups: the group of every case, such as its patient.
        n_resamples: resamples of the bootstrap.
    """
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(group_of == group) for group in range(len(names))]
    values = measure(np.arange(len(group_of)))
    rng = np.random.default_rng(SEED)
    drawn = [
        measure(np.concatenate([members[group] for group in rng.integers(len(members), size=len(members))]))
        for _ in range(n_resamples if len(members) > 1 else 0)
    ]
    return {
        name: _estimate(value, np.array([row[name] for row in drawn]), len(group_of))
        for name, value in values.items()
    }


def _estimate(value: float, drawn: FloatArray, n: int) -> Estimate:
    """Return value and percentiles of what was drawn, without resamples in which it is not defined."""
    if np.isnan(value):
        return Estimate(None, None, None, n)
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return Estimate(value, None, None, n)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high), n)


def dice(found: np.ndarray, true: np.ndarray) -> float:
    """Return the Sørensen-Dice coefficient of two masks; 1 where both are empty."""
    total = int(np.count_nonzero(found)) + int(np.count_nonzero(true))
    return 2 * int(np.count_nonzero(found & true)) / total if total else 1.0


def surface_distances_mm(
    found: np.ndarray, true: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[float, float]:
    """Return the mean symmetric surface distance and the 95th percentile of the Hausdorff distance, in mm.

    Args:
        found: bool ``[slices, rows, columns]``.
        true: the same shape.
        spacing_mm: along slices, rows, columns.

    Returns:
        Both distances, by MONAI; NaN where one mask is empty.
    """
    if not found.any() or not true.any():
        return float("nan"), float("nan")
    masks = [np.asarray(mask, np.float32)[None, None] for mask in (found, true)]
    options = {"include_background": True, "spacing": list(spacing_mm)}
    mean_mm = compute_average_surface_distance(*masks, symmetric=True, **options)
    worst_mm = compute_hausdorff_distance(*masks, percentile=HAUSDORFF_PERCENTILE, **options)
    return float(mean_mm), float(worst_mm)


def pearson_r(found: FloatArray, true: FloatArray) -> float:
    """Return the correlation of two volumes; NaN below three cases or where one does not vary."""
    if len(found) < 3 or np.ptp(found) == 0 or np.ptp(true) == 0:
        return float("nan")
    return float(np.corrcoef(found, true)[0, 1])


def auroc(score: FloatArray, positive: np.ndarray) -> float:
    """Return the area under the ROC curve; NaN where all are positive or none is.

    It comes from ranks: for a thousand resamples that of scikit-learn is some twenty times too slow.
    """
    positive = np.asarray(positive, bool)
    n_positive = int(positive.sum())
    n_pairs = n_positive * (len(positive) - n_positive)
    if not n_pairs:
        return float("nan")
    ranks = float(stats.rankdata(score)[positive].sum())
    return (ranks - n_positive * (n_positive + 1) / 2) / n_pairs


def pooled_auroc(scores: Sequence[FloatArray], positives: Sequence[np.ndarray]) -> Estimate:
    """Estimate the AUROC of the slices of all scans.

    Scans are resampled, because the slices of one scan resemble each other.
    """

    def measure(scans: np.ndarray) -> float:
        return auroc(*(np.concatenate([values[i] for i in scans]) for values in (scores, positives)))

    return with_interval(measure, np.arange(len(scores)))


def bland_altman(found_ml: FloatArray, true_ml: FloatArray) -> tuple[Estimate, float | None, float | None]:
    """Measure the agreement of two measurements of the same cases (Bland, Altman 1986, Lancet 327: 307-310).

    Returns:
        The bias, which is the mean of found minus true, and the limits of agreement, which lie 1.96 standard
        deviations of the differences below and above it; None for a single case.
    """
    difference = np.asarray(found_ml, float) - np.asarray(true_ml, float)
    bias = with_interval(np.mean, difference)
    if len(difference) < 2 or bias.value is None:
        return bias, None, None
    reach = 1.96 * float(difference.std(ddof=1))
    return bias, bias.value - reach, bias.value + reach
