"""The temperature of the classifier, and the decision rule of Topff et al. 2023."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lungct.errors import ModelError
from lungct.findings.classification import classify, decide
from lungct.networks.weights import LoadedModel
from lungct.records import Classification, Diagnosis, LungAnatomy, ModelInfo, Probabilities
from lungct.records.orientation import canonical_volume

LOGITS = torch.tensor([2.0, 1.0, 0.0])
INFO = ModelInfo("classifier", "0", "0", provisional=True)


class Fixed(nn.Linear):
    """Gives the same logits for every chest."""

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        return LOGITS.expand(len(volumes), -1)


def classification(parameters: dict[str, float]) -> Classification:
    volume = canonical_volume(np.full((4, 6, 6), -800, np.int16), (5.0, 2.0, 2.0))
    anatomy = LungAnatomy(np.ones((4, 6, 6), np.uint8), INFO)
    return classify(volume, anatomy, LoadedModel(Fixed(1, 1), INFO, parameters))


def probabilities(parameters: dict[str, float]) -> list[float]:
    return list(vars(classification(parameters).probabilities).values())


def test_without_a_temperature_probabilities_are_the_softmax() -> None:
    assert probabilities({}) == pytest.approx(LOGITS.softmax(0).tolist())


def test_the_temperature_of_the_model_divides_the_logits() -> None:
    expected = torch.tensor([1.0, 0.5, 0.0]).softmax(0).tolist()
    assert probabilities({"temperature": 2.0}) == pytest.approx(expected)


def test_the_energy_does_not_depend_on_the_temperature() -> None:
    expected = -np.log(np.exp(2) + np.exp(1) + 1)
    found = classification({"temperature": 3.0, "highest_energy": -1.5})
    assert found.energy == pytest.approx(expected)
    assert found.highest_energy == -1.5
    assert classification({}).highest_energy is None


def test_a_temperature_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ModelError, match=r"classifier: temperature 0\.0 in model\.json must be above 0"):
        probabilities({"temperature": 0.0})


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
