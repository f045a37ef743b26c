"""Airways and vessels, for pictures and segmentations; a failure here never costs the findings."""

from __future__ import annotations

import logging

import numpy as np
import torch

from lungct.anatomy.airways import segment_airways
from lungct.anatomy.vessels import segment_vessels
from lungct.records import BronchovascularTree, CtVolume, LungAnatomy

logger = logging.getLogger("lungct")


def segment_tree(
    volume: CtVolume, anatomy: LungAnatomy, device: torch.device | str = "cpu", is_wanted: bool = True
) -> BronchovascularTree:
    """Segment airways and vessels; both are empty where they cannot be found or are not wanted.

    The vessels are looked for on ``device``; airways are grown on the CPU.
    """
    nothing = np.zeros(volume.volume_hu.shape, np.uint8)
    none = BronchovascularTree(nothing, nothing, is_wanted)
    if not is_wanted:
        return none
    try:
        airways = segment_airways(volume, anatomy.lobes, anatomy.trachea)
        return BronchovascularTree(airways, segment_vessels(volume, anatomy.lobes, airways, device))
    except Exception as error:
        logger.warning("airways and vessels are left out: %s", type(error).__name__)
        return none
