"""Finds the lungs and their lobes."""

from __future__ import annotations

from lungct.anatomy.lungs import segment_lobes
from lungct.records import Chest, LungAnatomy
from operators.stage import Stage


class LungSegmenter(Stage):
    """Labels the five lobes."""

    inputs = ("chest",)
    output = "anatomy"

    def process(self, chest: Chest) -> LungAnatomy:
        """Return the lobes on the grid of the chest."""
        return segment_lobes(chest.volume, self.task.models.lobes)
