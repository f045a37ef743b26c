"""Writes the report and the label maps."""

from __future__ import annotations

from typing import Any

from lungct.findings.quality import conclude
from lungct.records import Findings
from operators.stage import Stage


class ReportWriter(Stage):
    """Draws the conclusion and writes every file of the analysis but ``result.json``."""

    inputs = ("chest", "anatomy", "classification", "opacities", "tree", "quantification")

    def process(self, *records: Any) -> Findings:
        """Return the findings after they are written; the records are the arguments of ``conclude``."""
        from lungct.delivery import deliver  # slow to import, and only this stage needs it

        analysis = conclude(*records)
        deliver(self.task.folder, self.task.settings.outputs, analysis)
        return analysis.findings
