"""Expected values are worked out by hand, in the comments where they are not obvious."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lungct_research.evaluation.agreement import (
    auroc,
    bland_altman,
    dice,
    pearson_r,
    pooled_auroc,
    surface_distances_mm,
    with_interval,
)


def mean(values: np.ndarray) -> float:
    return float(values.mean())


def test_dice_of_masks() -> None:
    found, true = np.zeros((2, 20), bool)
    found[:4], true[1:7] = True, True
    assert dice(found, true) == pytest.approx(2 * 3 / (4 + 6))
    assert dice(found, ~found) == 0
    assert dice(found & ~found, true & ~true) == 1


def test_surface_distance_of_parallel_planes_is_their_distance_in_mm() -> None:
    found, true = np.zeros((2, 9, 6, 6), bool)
    found[2], true[5] = True, True
    assert surface_distances_mm(found, true, (2.0, 1.0, 1.0)) == pytest.approx((6.0, 6.0))
    assert surface_distances_mm(found.transpose(1, 2, 0), true.transpose(1, 2, 0), (1.0, 1.0, 0.5)) == (
        pytest.approx((1.5, 1.5))
    )
    assert surface_distances_mm(true, true, (2.0, 1.0, 1.0)) == (0, 0)


def test_surface_distance_needs_two_masks() -> None:
    full, empty = np.ones((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    assert all(math.isnan(mm) for mm in surface_distances_mm(full, empty, (1.0, 1.0, 1.0)))
    assert all(math.isnan(mm) for mm in surface_distances_mm(empty, full, (1.0, 1.0, 1.0)))


def test_pearson_r() -> None:
    # deviations (-1, 0, 1) and (-4, -1, 5) / 3: 3 / sqrt(2 * 42 / 9)
    assert pearson_r(np.array([1.0, 2, 3]), np.array([1.0, 2, 4])) == pytest.approx(3 / math.sqrt(84 / 9))
    assert math.isnan(pearson_r(np.array([1.0, 2]), np.array([1.0, 2])))
    assert math.isnan(pearson_r(np.array([1.0, 1, 1]), np.array([1.0, 2, 3])))


def test_bland_altman() -> None:
    # differences 2, -1, 3: mean 4/3, variance (4/9 + 49/9 + 25/9) / 2 = 13/3
    found_ml, true_ml = np.array([10.0, 20, 30]), np.array([8.0, 21, 27])
    bias, lower_limit, upper_limit = bland_altman(found_ml, true_ml)
    assert bias.value == pytest.approx(4 / 3)
    assert upper_limit == pytest.approx(4 / 3 + 1.96 * math.sqrt(13 / 3))
    assert lower_limit == pytest.approx(4 / 3 - 1.96 * math.sqrt(13 / 3))
    assert bland_altman(found_ml[:1], true_ml[:1])[1:] == (None, None)


def test_auroc_counts_ties_half() -> None:
    # of the four pairs of a positive and a negative one is a tie, one is wrong, two are right
    assert auroc(np.array([0.0, 0, 2, 1]), np.array([False, True, True, False])) == pytest.approx(2.5 / 4)
    assert math.isnan(auroc(np.array([0.0, 1]), np.array([True, True])))


def test_auroc_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        score, positive = rng.integers(0, 6, 40), rng.random(40) < 0.3
        assert auroc(score, positive) == pytest.approx(roc_auc_score(positive, score))


def test_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(10, 2, 400)
    estimate = with_interval(mean, values)
    reach = 1.96 * values.std(ddof=1) / math.sqrt(400)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - reach, abs=0.15 * reach)
    assert estimate.high == pytest.approx(values.mean() + reach, abs=0.15 * reach)
    assert with_interval(mean, values) == estimate


def test_interval_keeps_pairs_together() -> None:
    column = np.arange(10.0)
    estimate = with_interval(pearson_r, column, 2 * column + 1)
    assert (estimate.low, estimate.high) == pytest.approx((1, 1))


def test_one_case_has_no_interval_and_none_has_no_value() -> None:
    assert with_interval(mean, [0.5]).rounded() == {"value": 0.5, "low": None, "high": None, "n": 1}
    assert with_interval(mean, []).rounded() == {"value": None, "low": None, "high": None, "n": 0}


def test_slices_are_resampled_by_scan() -> None:
    areas = [np.array([0.0, 0, 5, 5]), np.array([0.0, 4, 0, 4])]
    infected = [np.array([0, 0, 1, 1], bool), np.array([0, 0, 1, 1], bool)]
    # scan 1 alone 1, scan 2 alone 0.5; of the 16 pairs of both: positives 5, 5, 0, 4; negatives 0, 0, 0, 4
    both = (4 + 4 + 1.5 + 3.5) / 16
    estimate = pooled_auroc(areas, infected)
    assert estimate.n == 2
    assert estimate.value == pytest.approx(both)
    assert (estimate.low, estimate.high) == pytest.approx((0.5, 1.0))
    assert pooled_auroc(areas[:1], infected[:1]).rounded() == {
        "value": 1.0,
        "low": None,
        "high": None,
        "n": 1,
    }
