"""Writes the report and the label maps."""

from __future__ import annotations

from lungct.findings.quality import conclude
from lungct.records import (
    BronchovascularTree,
    Chest,
    Classification,
    Findings,
    LungAnatomy,
    Opacities,
    Quantification,
)
from operators.stage import Stage


class ReportWriter(Stage):
    """Draws the conclusion and writes every file of the analysis but ``result.json``."""

    inputs = ("chest", "anatomy", "classification", "opacities", "tree", "quantification")

    def process(
        self,
        chest: Chest,
        anatomy: LungAnatomy,
        classification: Classification,
        opacities: Opacities,
        tree: BronchovascularTree,
        quantification: Quantification,
    ) -> Findings:
        """Return the findings after they are written."""
        from lungct.delivery import deliver  # slow to import, and only this stage needs it

        analysis = conclude(chest, anatomy, classification, opacities, tree, quantification)
        deliver(self.task.folder, self.task.settings.outputs, analysis)
        return analysis.findings
