"""Segments airways and vessels."""

from __future__ import annotations

from lungct.anatomy.tree import segment_tree
from lungct.records import BronchovascularTree, Chest, LungAnatomy
from operators.stage import Stage


class AirwayVesselSegmenter(Stage):
    """Segments airways and pulmonary vessels where the settings want them."""

    inputs = ("chest", "anatomy")
    output = "tree"

    def process(self, chest: Chest, anatomy: LungAnatomy) -> BronchovascularTree:
        """Return airways and vessels; empty where they are not wanted."""
        is_wanted = self.task.settings.outputs.airways_vessels
        return segment_tree(chest.volume, anatomy, self.task.models.device, is_wanted)
