"""Airways and vessels, for pictures and segmentations; whatever happens here never costs the findings."""

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

    Args:
        volume: canonical volume.
        anatomy: lobes on the same grid.
        device: where to filter for vessels; the growing of airways is work for a CPU.
        is_wanted: False where the settings leave them out.
    """
    if not is_wanted:
        return no_tree(volume, is_wanted=False)
    try:
        airways = segment_airways(volume, anatomy.lobes, anatomy.trachea)
        return BronchovascularTree(airways, segment_vessels(volume, anatomy.lobes, airways, device))
    except Exception as error:
        logger.warning("airways and vessels are left out: %s", type(error).__name__)
        return no_tree(volume)


def no_tree(volume: CtVolume, *, is_wanted: bool = True) -> BronchovascularTree:
    """Return a record with neither airways nor vessels."""
    nothing = np.zeros(volume.volume_hu.shape, np.uint8)
    return BronchovascularTree(nothing, nothing, is_wanted)
