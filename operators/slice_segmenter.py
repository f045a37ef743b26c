"""Marks infectious opacities."""

from __future__ import annotations

from lungct.findings.opacities import segment_opacities
from lungct.records import Chest, LungAnatomy, Opacities
from operators.stage import ModelStage


class SliceSegmenter(ModelStage):
    """Segments opacities slice by slice."""

    inputs = ("chest", "anatomy")
    output = "opacities"

    def process(self, chest: Chest, anatomy: LungAnatomy) -> Opacities:
        """Return the opacities inside the lobes."""
        return segment_opacities(chest.volume, anatomy, self.models.opacities)
