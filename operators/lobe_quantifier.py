"""Measures the affected volume of every lobe."""

from __future__ import annotations

from lungct.findings.quantification import quantify
from lungct.records import Chest, LungAnatomy, Opacities, Quantification
from operators.stage import Stage


class LobeQuantifier(Stage):
    """Measures volumes and scores."""

    inputs = ("chest", "anatomy", "opacities")
    output = "quantification"

    def process(self, chest: Chest, anatomy: LungAnatomy, opacities: Opacities) -> Quantification:
        """Return volumes and scores of the five lobes."""
        return quantify(anatomy, opacities, chest.volume.voxel_ml)
