"""The decision rule of Topff et al. 2023."""

from __future__ import annotations

import pytest

from lungct.findings.classification import decide
from lungct.records import Diagnosis, Probabilities


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        (Probabilities(0.78, 0.17, 0.05), Diagnosis.COVID19),
        (Probabilities(0.50, 0.04, 0.46), Diagnosis.NO_INFECTION),
        (Probabilities(0.46, 0.09, 0.45), Diagnosis.COVID19),
        (Probabilities(0.45, 0.10, 0.45), Diagnosis.OTHER_INFECTION),
        (Probabilities(0.10, 0.80, 0.10), Diagnosis.OTHER_INFECTION),
    ],
    ids=["figure 5", "both tests pass: the first decides", "cut-off is exclusive", "neither", "other"],
)
def test_decision(probabilities: Probabilities, expected: Diagnosis) -> None:
    assert decide(probabilities) is expected
