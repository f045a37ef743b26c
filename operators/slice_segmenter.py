"""Marks infectious opacities."""

from __future__ import annotations

from lungct.findings.opacities import segment_opacities
from lungct.networks.int8_unet import build_opacity_model
from lungct.records import Chest, LungAnatomy, Opacities
from operators.stage import ModelStage


class SliceSegmenter(ModelStage):
    """Segments opacities slice by slice."""

    inputs = ("chest", "anatomy")
    output = "opacities"
    model_name = "opacity"
    build = build_opacity_model
    parameters = ("threshold",)

    def process(self, chest: Chest, anatomy: LungAnatomy) -> Opacities:
        """Opacities inside the lobes."""
        return segment_opacities(chest.volume, anatomy, self.model)
