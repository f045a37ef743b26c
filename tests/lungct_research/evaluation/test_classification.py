"""Measures of three-class predictions, against hand calculations and scikit-learn."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from lungct_research.evaluation.classification import (
    Predictions,
    apply_rule,
    at_temperature,
    best_cut_offs,
    bin_confidences,
    calibration_error,
    compute_rates,
    count_confusion,
    fit_temperature,
    measure_predictions,
    measure_subgroups,
    net_benefit,
)

COVID, OTHER, NONE = range(3)
SHARES = np.array(
    [
        [0.80, 0.15, 0.05],
        [0.50, 0.04, 0.46],  # both tests pass: no signs comes first
        [0.40, 0.30, 0.30],
        [0.20, 0.70, 0.10],
        [0.60, 0.30, 0.10],
        [0.05, 0.05, 0.90],
    ]
)
LABELS = np.array([COVID, COVID, OTHER, OTHER, NONE, NONE])


def predictions(shares: np.ndarray = SHARES, labels: np.ndarray = LABELS) -> Predictions:
    cases = np.arange(len(labels))
    return Predictions(shares, labels, cases, pl.DataFrame({"institution": ["north"] * len(labels)}))


def random_predictions(n: int, seed: int = 0, sharpness: float = 1.0) -> Predictions:
    """Perfectly calibrated where ``sharpness`` is 1: labels are drawn from the probabilities."""
    rng = np.random.default_rng(seed)
    true = rng.dirichlet([0.6] * 3, n)
    labels = np.array([rng.choice(3, p=row) for row in true])
    return predictions(at_temperature(true, 1 / sharpness), labels)


def test_the_papers_rule_decides() -> None:
    assert apply_rule(predictions()).tolist() == [COVID, NONE, OTHER, OTHER, COVID, NONE]
    assert count_confusion(predictions()).tolist() == [[1, 0, 1], [0, 2, 0], [1, 0, 1]]


def test_rates_of_a_binary_question_by_hand() -> None:
    said = np.array([True, True, True, False, False, False, False])
    truth = np.array([True, True, False, True, False, False, False])
    assert compute_rates(said, truth) == pytest.approx(
        {"sensitivity": 2 / 3, "specificity": 3 / 4, "accuracy": 5 / 7, "ppv": 2 / 3, "npv": 3 / 4}
    )
    assert np.isnan(compute_rates(said, np.zeros(7, bool))["sensitivity"])


def test_areas_are_those_of_scikit_learn() -> None:
    one = random_predictions(80)
    found = measure_predictions(one, {}, n_resamples=3)
    truth = np.eye(3)[one.labels]
    for average in ("micro", "macro"):
        expected = roc_auc_score(truth, one.probabilities, average=average)
        assert found[f"auroc/{average}"].value == pytest.approx(expected)
    expected = roc_auc_score(one.labels == COVID, one.probabilities[:, COVID])
    assert found["auroc/covid19"].value == pytest.approx(expected)


def test_a_class_without_cases_has_no_area_and_the_others_keep_theirs() -> None:
    found = measure_predictions(predictions(SHARES[:4], LABELS[:4]), {}, n_resamples=3)
    assert found["auroc/no_infection"].value is None
    assert found["rule/no_infection/sensitivity"].value is None
    assert found["auroc/covid19"].value == 1.0


def test_intervals_hold_the_value_and_narrow_with_more_patients() -> None:
    few, many = (
        measure_predictions(random_predictions(n), {}, n_resamples=60)["accuracy/rule"] for n in (40, 640)
    )
    for estimate in (few, many):
        assert estimate.low < estimate.value < estimate.high
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_patients_are_resampled_whole() -> None:
    """Copies of the same patients say nothing new, so the interval stays as wide."""
    one = random_predictions(40)
    copies = one.select(np.tile(np.arange(40), 9))
    single, nine = (measure_predictions(each, {}, n_resamples=60)["accuracy/rule"] for each in (one, copies))
    assert nine.n == 9 * single.n
    assert nine.high - nine.low == pytest.approx(single.high - single.low, abs=0.02)


def test_best_cut_off_separates_what_can_be_separated() -> None:
    shares = np.array([[0.3, 0.3, 0.4], [0.2, 0.4, 0.4], [0.1, 0.2, 0.7]])
    found = best_cut_offs(predictions(shares, np.array([COVID, OTHER, OTHER])))
    assert found["covid19"] == 0.3
    assert "no_infection" not in found
    at_best = measure_predictions(predictions(shares, np.array([COVID, OTHER, OTHER])), found, n_resamples=2)
    assert at_best["best/covid19/sensitivity"].value == at_best["best/covid19/specificity"].value == 1


def test_net_benefit_by_hand() -> None:
    """2 of 6 found and 1 wrong at a threshold of 0.5: (2 - 1 * 1) / 6."""
    found = net_benefit(SHARES[:, COVID], LABELS == COVID, np.array([0.5]))
    assert found.tolist() == pytest.approx([(2 - 1) / 6])


def test_calibration_error_by_hand() -> None:
    shares = np.array([[0.95, 0.05, 0], [0.95, 0.05, 0], [0.55, 0.45, 0], [0.55, 0.45, 0]])
    labels = np.array([0, 0, 0, 1])
    assert calibration_error(shares, labels) == pytest.approx(0.5 * 0.05 + 0.5 * 0.05)
    assert bin_confidences(shares, labels)[:, 2].tolist() == [2, 2]


def test_the_temperature_undoes_overconfidence() -> None:
    """Logits that are three times too large need a temperature of three."""
    one = random_predictions(4000, sharpness=3.0)
    temperature = fit_temperature(one.probabilities, one.labels)
    assert temperature == pytest.approx(3.0, rel=0.1)
    mended = at_temperature(one.probabilities, temperature)
    before, after = (calibration_error(p, one.labels) for p in (one.probabilities, mended))
    assert before > 0.1
    assert after < 0.02


@given(st.floats(0.1, 10))
def test_a_temperature_keeps_the_order_of_the_classes(temperature: float) -> None:
    cooled = at_temperature(SHARES, temperature)
    assert cooled.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(cooled.argmax(axis=1), SHARES.argmax(axis=1))


def test_subgroups_band_numbers_and_measure_none_that_are_small() -> None:
    one = random_predictions(13)
    ages = ["30", *["55.5"] * 10, "", "old"]
    facts = pl.DataFrame({"age_years": ages, "vendor": ["GE"] * 13})
    rows = {
        (row["fact"], row["value"]): row
        for row in measure_subgroups(Predictions(one.probabilities, one.labels, one.patients, facts), 3)
    }
    assert rows["age_years", "below 50 years"] == {"fact": "age_years", "value": "below 50 years", "n": 1}
    assert rows["age_years", "unknown"]["n"] == 2
    assert rows["age_years", "50 to 69 years"]["accuracy/rule"]["n"] == 10
    assert rows["vendor", "GE"]["n"] == 13
