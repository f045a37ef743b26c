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
HAUSDORFF_PERCENTILE = 95.0

FloatArray = npt.NDArray[np.floating]
Statistic = Callable[..., float]


@dataclass(frozen=True)
class Estimate:
    """A value with its bootstrap interval; None where it is not defined.

    Attributes:
        low: lower end of the 95 % interval, None where there are fewer than two cases.
        n: number of cases.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def rounded(self) -> dict[str, Any]:
        """For JSON."""
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}


def with_interval(statistic: Statistic, *columns: npt.ArrayLike) -> Estimate:
    """A statistic of cases and its percentile bootstrap interval; cases are resampled whole.

    Args:
        statistic: of one array a column, all of one length; NaN where it is not defined.
        columns: one value a case, paired.
    """
    data = [np.asarray(column) for column in columns]
    n = len(data[0])
    value = float(statistic(*data)) if n else np.nan
    if n < 2 or np.isnan(value):
        return _estimate(value, np.array([]), n)
    drawn = stats.bootstrap(
        data,
        statistic,
        paired=True,
        vectorized=False,
        n_resamples=N_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).bootstrap_distribution
    return _estimate(value, drawn, n)


def with_intervals(
    measure: Callable[[np.ndarray], dict[str, float]], groups: npt.ArrayLike, n_resamples: int = N_RESAMPLES
) -> dict[str, Estimate]:
    """Several statistics at once with percentile bootstrap intervals; groups are resampled whole.

    Args:
        measure: statistics by name, given the indices of cases; NaN where one is not defined.
        groups: the group of every case, such as its patient.
        n_resamples: how often.
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
    """Value and percentiles of what was drawn; resamples in which the statistic says nothing do not count."""
    if np.isnan(value):
        return Estimate(None, None, None, n)
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return Estimate(value, None, None, n)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high), n)


def dice(found: np.ndarray, true: np.ndarray) -> float:
    """Sørensen-Dice coefficient of two masks; 1 where both are empty."""
    total = int(np.count_nonzero(found)) + int(np.count_nonzero(true))
    return 2 * int(np.count_nonzero(found & true)) / total if total else 1.0


def surface_distances_mm(
    found: np.ndarray, true: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[float, float]:
    """Mean symmetric surface distance and 95th percentile of the Hausdorff distance, by MONAI.

    Args:
        found: bool ``[slices, rows, columns]``.
        true: the same shape.
        spacing_mm: along slices, rows, columns.

    Returns:
        Both in mm; NaN where one mask is empty.
    """
    if not found.any() or not true.any():
        return float("nan"), float("nan")
    one, other = (
        np.ascontiguousarray(mask[_around(found | true)], np.float32)[None, None] for mask in (found, true)
    )
    spacing = list(spacing_mm)
    mean_mm = compute_average_surface_distance(
        one, other, include_background=True, symmetric=True, spacing=spacing
    )
    worst_mm = compute_hausdorff_distance(
        one, other, include_background=True, percentile=HAUSDORFF_PERCENTILE, spacing=spacing
    )
    return float(mean_mm), float(worst_mm)


def _around(mask: np.ndarray) -> tuple[slice, ...]:
    """Box of a mask, one voxel wider where there is room."""
    where = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return tuple(slice(max(int(at[0]) - 1, 0), int(at[-1]) + 2) for at in where)


def pearson_r(found: FloatArray, true: FloatArray) -> float:
    """Correlation of two volumes; NaN below three cases or where one does not vary."""
    if len(found) < 3 or np.ptp(found) == 0 or np.ptp(true) == 0:
        return float("nan")
    return float(np.corrcoef(found, true)[0, 1])


def auroc(score: FloatArray, positive: np.ndarray) -> float:
    """Area under the ROC curve, from ranks; NaN where all are positive or none is."""
    positive = np.asarray(positive, bool)
    n_positive = int(positive.sum())
    n_pairs = n_positive * (len(positive) - n_positive)
    if not n_pairs:
        return float("nan")
    ranks = float(stats.rankdata(score)[positive].sum())
    return (ranks - n_positive * (n_positive + 1) / 2) / n_pairs


def pooled_auroc(scores: Sequence[FloatArray], positives: Sequence[np.ndarray]) -> Estimate:
    """AUROC of the slices of all scans.

    Scans are resampled, because the slices of one scan resemble each other.
    """

    def of_scans(scans: np.ndarray) -> float:
        if not len(scans):
            return float("nan")
        return auroc(*(np.concatenate([values[i] for i in scans]) for values in (scores, positives)))

    return with_interval(of_scans, np.arange(len(scores)))


@dataclass(frozen=True)
class VolumeBias:
    """Agreement of two measurements after Bland and Altman 1986, Lancet 327: 307-310.

    Attributes:
        bias: mean of found minus true.
        lower_limit: bias less 1.96 standard deviations of the differences; None for a single case.
    """

    bias: Estimate
    lower_limit: float | None
    upper_limit: float | None

    def rounded(self) -> dict[str, Any]:
        """For JSON."""
        limits = {"lower_limit": self.lower_limit, "upper_limit": self.upper_limit}
        return self.bias.rounded() | {k: v if v is None else round(v, 3) for k, v in limits.items()}


def bland_altman(found_ml: FloatArray, true_ml: FloatArray) -> VolumeBias:
    """Bias and limits of agreement of two measurements of the same cases."""
    difference = np.asarray(found_ml, float) - np.asarray(true_ml, float)
    bias = with_interval(lambda values: float(values.mean()), difference)
    if len(difference) < 2 or bias.value is None:
        return VolumeBias(bias, None, None)
    reach = 1.96 * float(difference.std(ddof=1))
    return VolumeBias(bias, bias.value - reach, bias.value + reach)
