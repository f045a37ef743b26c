"""Writes the report and the label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai.deploy.core import Fragment

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
from lungct.settings import OutputSettings
from operators.stage import Stage


class ReportWriter(Stage):
    """Draws the conclusion and writes every file of the analysis but ``result.json``."""

    inputs = ("chest", "anatomy", "classification", "opacities", "tree", "quantification")

    def __init__(self, fragment: Fragment, *, folder: Path, outputs: OutputSettings, **options: Any) -> None:
        """Take the folder and the choice of files."""
        self.folder = folder
        self.outputs = outputs
        super().__init__(fragment, **options)

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
        deliver(self.folder, self.outputs, analysis)
        return analysis.findings
