"""Finds the lungs and their lobes."""

from __future__ import annotations

from typing import Any

from monai.deploy.core import Fragment

from lungct.anatomy.lungmask_lobes import LungmaskLobes
from lungct.anatomy.lungs import build_lobe_model, segment_lobes
from lungct.records import Chest, LungAnatomy
from lungct.settings import LobeSegmenter
from operators.stage import ModelStage


class LungSegmenter(ModelStage):
    """Labels the five lobes."""

    inputs = ("chest",)
    output = "anatomy"
    model_name = "lungs"
    build = build_lobe_model

    def __init__(
        self, fragment: Fragment, *args: Any, segmenter: LobeSegmenter = "own", **options: Any
    ) -> None:
        """Remember what shall label the lobes."""
        self.segmenter = segmenter
        super().__init__(fragment, *args, **options)

    def start(self) -> None:
        """Verify the weights of the chosen segmenter."""
        if self.segmenter == "lungmask":
            self.lungmask = LungmaskLobes(self.models_dir, self.device)
        else:
            super().start()

    def process(self, chest: Chest) -> LungAnatomy:
        """Lobes on the grid of the chest."""
        if self.segmenter == "lungmask":
            return self.lungmask(chest.volume)
        return segment_lobes(chest.volume, self.model)
