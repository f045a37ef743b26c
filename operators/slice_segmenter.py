"""Marks infectious opacities."""

from __future__ import annotations

from functools import cached_property

from lungct.anatomy.opacities import segment_opacities
from lungct.inference.int8_unet import build_opacity_model
from lungct.inference.weights import LoadedModel
from lungct.records import Chest, LungAnatomy, Opacities
from operators.stage import ModelStage


class SliceSegmenter(ModelStage):
    """Segments opacities slice by slice."""

    inputs = ("chest", "anatomy")
    output = "opacities"
    model_name = "opacity"
    parameters = ("threshold",)

    @cached_property
    def model(self) -> LoadedModel:
        """The network with its weights, in integers on a CPU."""
        return build_opacity_model(self.verified, self.device)

    def process(self, chest: Chest, anatomy: LungAnatomy) -> Opacities:
        """Opacities inside the lobes."""
        return segment_opacities(chest.volume, anatomy, self.model)
