"""What is measured of three-class predictions: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, roc_curve

from lungct.findings.classification import decide
from lungct.networks.classifier3d import CLASSES
from lungct.records import Probabilities
from lungct_research.evaluation.agreement import N_RESAMPLES, Estimate, FloatArray, auroc, with_intervals
from lungct_research.evaluation.calibration import expected_calibration_error

RATES = ("sensitivity", "specificity", "accuracy", "ppv", "npv")
PAPER_VALUES: Mapping[str, float] = {
    "auroc/micro": 0.93,
    "auroc/macro": 0.91,
    "rule/covid19/sensitivity": 0.87,
    "rule/covid19/specificity": 0.94,
    "rule/covid19/accuracy": 0.90,
    "rule/covid19/ppv": 0.95,
    "rule/covid19/npv": 0.83,
}
"""Of 474 CTs from institutions that training had not seen (Topff et al. 2023, Fig. 3 and Table 3)."""

AGE_BANDS = ((50.0, "below 50 years"), (70.0, "50 to 69 years"), (np.inf, "70 years and more"))
THICKNESS_BANDS = ((1.5001, "at most 1.5 mm"), (np.inf, "above 1.5 mm"))
BANDS = {"age_years": AGE_BANDS, "slice_thickness_mm": THICKNESS_BANDS}
"""Upper ends and names. Own decision; 1.5 mm is what the paper recommends."""

FEWEST_IN_SUBGROUP = 10
"""Smaller subgroups are counted, but nothing is measured of them; of a smaller class the report warns, since
a bootstrap of few cases is too narrow. Own decision."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Probabilities of cases and the truth.

    Attributes:
        probabilities: ``[cases, 3]`` in the order of ``CLASSES``.
        labels: ``[cases]``, index of the true class.
        patients: of every case; they are what is resampled.
        facts: of every case: institution and what else subgroups are made of.
    """

    probabilities: FloatArray
    labels: np.ndarray
    patients: np.ndarray
    facts: Sequence[Mapping[str, str]]

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.labels)

    def of(self, indices: np.ndarray) -> Predictions:
        """Some of the cases."""
        facts = [self.facts[index] for index in indices]
        parts = (self.probabilities[indices], self.labels[indices], self.patients[indices])
        return Predictions(*parts, facts)

    def with_probabilities(self, probabilities: FloatArray) -> Predictions:
        """The same cases."""
        return replace(self, probabilities=probabilities)


def decided(predictions: Predictions) -> np.ndarray:
    """Index of the class that the paper's rule gives every case."""
    rows = predictions.probabilities.tolist()
    return np.array([CLASSES.index(decide(Probabilities(*row)).value) for row in rows], int)


def best_cut_offs(predictions: Predictions) -> dict[str, float]:
    """Cut-off of every class with the largest sum of sensitivity and specificity (Youden 1950, Cancer 3: 32).

    A class without cases, or with nothing but cases, is left out.
    """
    found = {}
    for index, name in enumerate(CLASSES):
        positive = predictions.labels == index
        if positive.any() and not positive.all():
            wrong, right, cut_offs = roc_curve(positive, predictions.probabilities[:, index])
            found[name] = float(cut_offs[1:][np.argmax((right - wrong)[1:])])
    return found


def rates(said: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    """Measures of a binary question; NaN where the denominator is empty.

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


def measures(
    predictions: Predictions, cut_offs: Mapping[str, float], n_resamples: int = N_RESAMPLES
) -> dict[str, Estimate]:
    """Everything of Fig. 3 and Table 3, and the calibration error, with intervals.

    Args:
        predictions: the cases.
        cut_offs: by class, for the answers "at the best cut-offs".
        n_resamples: of the bootstrap.

    Returns:
        By names such as ``auroc/micro``, ``rule/covid19/sensitivity`` (at the paper's rule) and
        ``best/covid19/sensitivity``.
    """
    shares, labels, chosen = predictions.probabilities, predictions.labels, decided(predictions)

    def measure(cases: np.ndarray) -> dict[str, float]:
        here, true = shares[cases], labels[cases]
        found = _aurocs(here, true) | {"calibration_error": expected_calibration_error(here, true)}
        found["accuracy/rule"] = float((chosen[cases] == true).mean())
        for index, name in enumerate(CLASSES):
            answers = {"rule": chosen[cases] == index}
            if name in cut_offs:
                answers["best"] = here[:, index] >= cut_offs[name]
            for kind, said in answers.items():
                of_kind = rates(said, true == index)
                found |= {f"{kind}/{name}/{rate}": value for rate, value in of_kind.items()}
        return found

    return with_intervals(measure, predictions.patients, n_resamples)


def _aurocs(shares: FloatArray, labels: np.ndarray) -> dict[str, float]:
    """Of every class, over all pairs of case and class (micro), and the mean of the classes (macro)."""
    positive = np.eye(len(CLASSES), dtype=bool)[labels]
    single = {name: auroc(shares[:, i], positive[:, i]) for i, name in enumerate(CLASSES)}
    known = [value for value in single.values() if not np.isnan(value)]
    pooled = {
        "micro": auroc(shares.ravel(), positive.ravel()),
        "macro": float(np.mean(known)) if known else float("nan"),
    }
    return {f"auroc/{name}": value for name, value in (single | pooled).items()}


def confusion(predictions: Predictions) -> np.ndarray:
    """Cases by true class (rows) and by what the paper's rule says (columns)."""
    found: np.ndarray = confusion_matrix(predictions.labels, decided(predictions), labels=range(len(CLASSES)))
    return found


def net_benefit(shares: FloatArray, positive: np.ndarray, thresholds: FloatArray) -> FloatArray:
    """Right answers less wrong ones at a threshold's price (Vickers 2006, Med Decis Making 26: 565).

    Args:
        shares: probability of the class.
        positive: bool, the truth.
        thresholds: probabilities above 0 and below 1.
    """
    said = shares[:, None] >= thresholds
    right, wrong = ((said & truth[:, None]).mean(axis=0) for truth in (positive, ~positive))
    return np.asarray(right - wrong * thresholds / (1 - thresholds))


def subgroups(predictions: Predictions, n_resamples: int = N_RESAMPLES) -> list[dict[str, Any]]:
    """Macro AUROC and accuracy of the rule for every value of every fact, the larger subgroups first."""
    rows = []
    for fact in sorted({name for facts in predictions.facts for name in facts}):
        values = np.array([_band(fact, facts.get(fact, "")) for facts in predictions.facts])
        names, counts = np.unique(values, return_counts=True)
        for name in names[np.argsort(-counts, kind="stable")]:
            part = predictions.of(np.flatnonzero(values == name))
            row: dict[str, Any] = {"fact": fact, "value": str(name), "n": len(part)}
            if len(part) >= FEWEST_IN_SUBGROUP:
                found = measures(part, {}, n_resamples)
                row |= {key: found[key].rounded() for key in ("auroc/macro", "accuracy/rule")}
            rows.append(row)
    return rows


def _band(fact: str, value: str) -> str:
    """The value itself, or the band that a number falls into."""
    if fact not in BANDS or not value:
        return value or "unknown"
    try:
        number = float(value)
    except ValueError:
        return "unknown"
    return next((name for end, name in BANDS[fact] if number < end), "unknown")
