"""Classifies the chest."""

from __future__ import annotations

from lungct.findings.classification import classify
from lungct.records import Chest, Classification, LungAnatomy
from operators.stage import Stage


class Classifier(Stage):
    """Classifies the chest as COVID-19, other infection or no infection."""

    inputs = ("chest", "anatomy")
    output = "classification"

    def process(self, chest: Chest, anatomy: LungAnatomy) -> Classification:
        """Return the probabilities of the three classes."""
        return classify(chest.volume, anatomy, self.task.models.classifier)
