"""Segments airways and vessels."""

from __future__ import annotations

from typing import Any

import torch
from monai.deploy.core import Fragment

from lungct.anatomy.tree import segment_tree
from lungct.records import BronchovascularTree, Chest, LungAnatomy
from operators.stage import Stage


class AirwayVesselSegmenter(Stage):
    """Segments airways and pulmonary vessels where the settings want them."""

    inputs = ("chest", "anatomy")
    output = "tree"

    def __init__(self, fragment: Fragment, *, device: torch.device, is_wanted: bool, **options: Any) -> None:
        """Remember whether there is anything to do, and where."""
        self.device = device
        self.is_wanted = is_wanted
        super().__init__(fragment, **options)

    def process(self, chest: Chest, anatomy: LungAnatomy) -> BronchovascularTree:
        """Return airways and vessels; empty where they are not wanted."""
        return segment_tree(chest.volume, anatomy, self.device, self.is_wanted)
