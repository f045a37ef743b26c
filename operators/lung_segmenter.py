"""Finds the lungs and their lobes."""

from __future__ import annotations

from lungct.anatomy.lungs import segment_lobes
from lungct.networks import lobe_unet
from lungct.records import Chest, LungAnatomy
from operators.stage import ModelStage


class LungSegmenter(ModelStage):
    """Labels the five lobes."""

    inputs = ("chest",)
    output = "anatomy"
    model_name = "lungs"
    build = lobe_unet

    def process(self, chest: Chest) -> LungAnatomy:
        """Lobes on the grid of the chest."""
        return segment_lobes(chest.volume, self.model)
