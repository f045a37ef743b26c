"""How far probabilities can be taken at their word, and the temperature that mends them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from lungct_research.evaluation.agreement import FloatArray

N_BINS = 10
SMALLEST = 1e-7
TEMPERATURES = (0.05, 20.0)
"""Where the temperature is looked for. Own decision."""


@dataclass(frozen=True)
class Bin:
    """Cases of similar confidence: its mean, the share that was right, and how many they are."""

    confidence: float
    accuracy: float
    n: int


def reliability(probabilities: FloatArray, labels: np.ndarray) -> list[Bin]:
    """Bins of equal width by the probability of the most probable class; empty ones are left out.

    Args:
        probabilities: ``[cases, classes]``.
        labels: ``[cases]``, index of the true class.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    return [
        Bin(float(confidence[here].mean()), float(right[here].mean()), int(here.sum()))
        for here in (place == index for index in range(N_BINS))
        if here.any()
    ]


def expected_calibration_error(probabilities: FloatArray, labels: np.ndarray) -> float:
    """Mean gap of confidence and accuracy over the bins, by cases (Guo et al. 2017, ICML, PMLR 70: 1321)."""
    bins = reliability(probabilities, labels)
    return sum(one.n * abs(one.confidence - one.accuracy) for one in bins) / len(labels)


def at_temperature(probabilities: FloatArray, temperature: float) -> FloatArray:
    """Softmax of the logits over a temperature, from probabilities at a temperature of 1."""
    logits = np.log(np.clip(probabilities, SMALLEST, None))
    cooled: FloatArray = special.softmax(logits / temperature, axis=1)
    return cooled


def fitted_temperature(probabilities: FloatArray, labels: np.ndarray) -> float:
    """The temperature with the least mean negative log-likelihood (Guo et al. 2017).

    Args:
        probabilities: ``[cases, classes]`` at a temperature of 1, of cases that training has not seen.
        labels: ``[cases]``, index of the true class.
    """

    def loss(log_temperature: float) -> float:
        cooled = at_temperature(probabilities, np.exp(log_temperature))
        return float(-np.log(cooled[np.arange(len(labels)), labels]).mean())

    found = optimize.minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))
