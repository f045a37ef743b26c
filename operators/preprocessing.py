"""Reads the chosen series as a volume."""

from __future__ import annotations

from lungct.dicom_read import read_chest
from lungct.records import Chest, Selection
from operators.stage import Stage


class Preprocessing(Stage):
    """Decodes the slices and brings the volume into canonical orientation."""

    inputs = ("selection",)
    output = "chest"

    def process(self, selection: Selection) -> Chest:
        """Return the chest that is analysed."""
        return read_chest(selection)
