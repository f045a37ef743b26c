"""Marks infectious opacities."""

from __future__ import annotations

from lungct.findings.opacities import segment_opacities
from lungct.records import Chest, LungAnatomy, Opacities
from operators.stage import Stage


class SliceSegmenter(Stage):
    """Segments opacities slice by slice."""

    inputs = ("chest", "anatomy")
    output = "opacities"

    def process(self, chest: Chest, anatomy: LungAnatomy) -> Opacities:
        """Return the opacities inside the lobes."""
        return segment_opacities(chest.volume, anatomy, self.task.models.opacities)
