"""Chooses the series that is analysed."""

from __future__ import annotations

from lungct.dicom_read import choose_series
from lungct.records import Scan, Selection
from operators.stage import Stage


class SeriesSelector(Stage):
    """Judges every series and ranks the eligible ones."""

    inputs = ("scan",)
    output = "selection"

    def process(self, scan: Scan) -> Selection:
        """Return the verdict on every series."""
        return choose_series(scan, self.task.settings.selection)
