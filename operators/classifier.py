"""Classifies the chest."""

from __future__ import annotations

from lungct.findings.classification import classify
from lungct.records import Chest, Classification, LungAnatomy
from operators.stage import ModelStage


class Classifier(ModelStage):
    """Probabilities of COVID-19, other infection and no infection."""

    inputs = ("chest", "anatomy")
    output = "classification"

    def process(self, chest: Chest, anatomy: LungAnatomy) -> Classification:
        """Return the probabilities of the three classes."""
        return classify(chest.volume, anatomy, self.models.classifier)
