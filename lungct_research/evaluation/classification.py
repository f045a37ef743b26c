"""Measures of three-class predictions and their calibration: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from scipy import optimize, special
from sklearn.metrics import confusion_matrix, roc_curve

from lungct.findings.classification import decide
from lungct.networks.classifier3d import CLASSES
from lungct.records import Probabilities
from lungct_research.evaluation.agreement import N_RESAMPLES, Estimate, FloatArray, auroc, with_intervals

PAPER_VALUES: Mapping[str, float] = {
    "auroc/micro": 0.93,
    "auroc/macro": 0.91,
    "rule/covid19/sensitivity": 0.87,
    "rule/covid19/specificity": 0.94,
    "rule/covid19/accuracy": 0.90,
    "rule/covid19/ppv": 0.95,
    "rule/covid19/npv": 0.83,
}
"""Measures on 474 CTs of institutions that training had not seen (Topff et al. 2023, Fig. 3 and Table 3)."""

BANDS = {
    "age_years": ((50.0, "below 50 years"), (70.0, "50 to 69 years"), (np.inf, "70 years and more")),
    "slice_thickness_mm": ((1.5001, "at most 1.5 mm"), (np.inf, "above 1.5 mm")),
}
"""Upper ends and names of subgroups. Own decision; 1.5 mm is what the paper recommends."""

FEWEST_IN_SUBGROUP = 10
"""Smaller subgroups are counted, but nothing is measured of them; the report warns of a smaller class, since
a bootstrap of few cases is too narrow. Own decision."""

N_BINS = 10
SMALLEST = 1e-7
"""Bins of the calibration error, and the smallest probability whose logarithm is taken. Own decision."""

TEMPERATURES = (0.05, 20.0)
"""Where the temperature is looked for. Own decision."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Probabilities of cases and the truth.

    Attributes:
        probabilities: ``[cases, 3]`` in the order of ``CLASSES``.
        labels: ``[cases]``, index of the true class.
        patients: patient of every case; patients are what is resampled.
        facts: strings by case: institution and whatever else makes subgroups.
    """

    probabilities: FloatArray
    labels: np.ndarray
    patients: np.ndarray
    facts: pl.DataFrame

    def select(self, cases: np.ndarray) -> Predictions:
        """Return the cases with these indices."""
        parts = (self.probabilities[cases], self.labels[cases], self.patients[cases])
        return Predictions(*parts, self.facts[cases])

    def at_temperature(self, temperature: float) -> Predictions:
        """Return the same cases with their probabilities at another temperature."""
        return replace(self, probabilities=at_temperature(self.probabilities, temperature))


def apply_rule(predictions: Predictions) -> np.ndarray:
    """Return the index of the class that the paper's rule gives every case."""
    rows = predictions.probabilities.tolist()
    return np.array([CLASSES.index(decide(Probabilities(*row)).value) for row in rows], int)


def best_cut_offs(predictions: Predictions) -> dict[str, float]:
    """Return the cut-off of each class with the largest sum of sensitivity and specificity.

    This is the index of Youden 1950 (Cancer 3: 32). A class without cases, or with nothing but cases, is left
    out.
    """
    found = {}
    for index, name in enumerate(CLASSES):
        positive = predictions.labels == index
        if positive.any() and not positive.all():
            wrong, right, cut_offs = roc_curve(positive, predictions.probabilities[:, index])
            found[name] = float(cut_offs[1:][np.argmax((right - wrong)[1:])])
    return found


def compute_rates(said: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    """Return the measures of a binary question; NaN where the denominator is empty.

    Args:
        said: bool, what was answered.
        positive: bool, the truth.
    """
    both, neither = int((said & positive).sum()), int((~said & ~positive).sum())
    counts = {
        "sensitivity": (both, int(positive.sum())),
        "specificity": (neither, int((~positive).sum())),
        "accuracy": (both + neither, len(said)),
        "ppv": (both, int(said.sum())),
        "npv": (neither, int((~said).sum())),
    }
    return {name: part / whole if whole else float("nan") for name, (part, whole) in counts.items()}


def measure_predictions(
    predictions: Predictions, cut_offs: Mapping[str, float], n_resamples: int = N_RESAMPLES
) -> dict[str, Estimate]:
    """Measure everything of Fig. 3 and Table 3, and the calibration error, with intervals.

    Args:
        predictions: the cases.
        cut_offs: cut-off of each class for the answers "at the best cut-offs".
        n_resamples: resamples of the bootstrap.

    Returns:
        Estimates by names such as ``auroc/micro``, ``rule/covid19/sensitivity`` (at the paper's rule) and
        ``best/covid19/sensitivity``.
    """
    shares, labels, chosen = predictions.probabilities, predictions.labels, apply_rule(predictions)

    def measure(cases: np.ndarray) -> dict[str, float]:
        here, true = shares[cases], labels[cases]
        found = _compute_aurocs(here, true) | {"calibration_error": calibration_error(here, true)}
        found["accuracy/rule"] = float((chosen[cases] == true).mean())
        for index, name in enumerate(CLASSES):
            answers = {"rule": chosen[cases] == index}
            if name in cut_offs:
                answers["best"] = here[:, index] >= cut_offs[name]
            for kind, said in answers.items():
                rates = compute_rates(said, true == index)
                found |= {f"{kind}/{name}/{rate}": value for rate, value in rates.items()}
        return found

    return with_intervals(measure, predictions.patients, n_resamples)


def _compute_aurocs(shares: FloatArray, labels: np.ndarray) -> dict[str, float]:
    """Return the areas of the classes, over all pairs of case and class (micro), and their mean (macro)."""
    positive = np.eye(len(CLASSES), dtype=bool)[labels]
    single = {name: auroc(shares[:, i], positive[:, i]) for i, name in enumerate(CLASSES)}
    known = [value for value in single.values() if not np.isnan(value)]
    pooled = {
        "micro": auroc(shares.ravel(), positive.ravel()),
        "macro": float(np.mean(known)) if known else float("nan"),
    }
    return {f"auroc/{name}": value for name, value in (single | pooled).items()}


def count_confusion(predictions: Predictions) -> np.ndarray:
    """Count cases by true class (rows) and by the class that the paper's rule gives (columns)."""
    counts: np.ndarray = confusion_matrix(
        predictions.labels, apply_rule(predictions), labels=range(len(CLASSES))
    )
    return counts


def net_benefit(shares: FloatArray, positive: np.ndarray, thresholds: FloatArray) -> FloatArray:
    """Return right answers less wrong ones at a threshold's price (Vickers 2006, Med Decis Making 26: 565).

    Args:
        shares: probability of the class.
        positive: bool, the truth.
        thresholds: probabilities above 0 and below 1.
    """
    said = shares[:, None] >= thresholds
    right, wrong = ((said & truth[:, None]).mean(axis=0) for truth in (positive, ~positive))
    return np.asarray(right - wrong * thresholds / (1 - thresholds))


def measure_subgroups(predictions: Predictions, n_resamples: int = N_RESAMPLES) -> list[dict[str, Any]]:
    """Measure macro AUROC and accuracy of the rule by subgroup, the larger ones of each fact first."""
    rows = []
    for fact in sorted(predictions.facts.columns):
        values = np.array([_find_band(fact, value) for value in predictions.facts[fact]])
        names, counts = np.unique(values, return_counts=True)
        for place in np.argsort(-counts, kind="stable"):
            row: dict[str, Any] = {"fact": fact, "value": str(names[place]), "n": int(counts[place])}
            if row["n"] >= FEWEST_IN_SUBGROUP:
                part = predictions.select(np.flatnonzero(values == names[place]))
                found = measure_predictions(part, {}, n_resamples)
                row |= {key: found[key].rounded() for key in ("auroc/macro", "accuracy/rule")}
            rows.append(row)
    return rows


def _find_band(fact: str, value: str) -> str:
    """Return the value itself, or the band that a number falls into."""
    if fact not in BANDS or not value:
        return value or "unknown"
    try:
        number = float(value)
    except ValueError:
        return "unknown"
    return next((name for end, name in BANDS[fact] if number < end), "unknown")


def bin_confidences(probabilities: FloatArray, labels: np.ndarray) -> np.ndarray:
    """Sort cases by the probability of their most probable class into bins of equal width.

    Args:
        probabilities: ``[cases, classes]``.
        labels: ``[cases]``, index of the true class.

    Returns:
        ``[bins, 3]``, without empty bins: mean confidence, share of the cases that is right, number of cases.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    bins = [place == index for index in np.unique(place)]
    return np.array([(confidence[here].mean(), right[here].mean(), here.sum()) for here in bins])


def calibration_error(probabilities: FloatArray, labels: np.ndarray) -> float:
    """Return the mean gap of confidence and accuracy (Guo et al. 2017, ICML, PMLR 70: 1321)."""
    confidence, accuracy, n = bin_confidences(probabilities, labels).T
    return float((n * np.abs(confidence - accuracy)).sum() / len(labels))


def at_temperature(probabilities: FloatArray, temperature: float) -> FloatArray:
    """Return the softmax of the logits over a temperature, from probabilities at a temperature of 1."""
    logits = np.log(np.clip(probabilities, SMALLEST, None))
    cooled: FloatArray = special.softmax(logits / temperature, axis=1)
    return cooled


def fit_temperature(probabilities: FloatArray, labels: np.ndarray) -> float:
    """Find the temperature with the least mean negative log-likelihood (Guo et al. 2017).

    Args:
        probabilities: ``[cases, classes]`` at a temperature of 1, of cases that training has not seen.
        labels: ``[cases]``, index of the true class.
    """

    def loss(log_temperature: float) -> float:
        cooled = at_temperature(probabilities, np.exp(log_temperature))
        return float(-np.log(cooled[np.arange(len(labels)), labels]).mean())

    found = optimize.minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))
