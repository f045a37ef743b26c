"""Chooses the series that is analysed."""

from __future__ import annotations

from typing import Any

from monai.deploy.core import Fragment

from lungct.dicom_read import choose_series
from lungct.records import Scan, Selection
from lungct.settings import SelectionLimits
from operators.stage import Stage


class SeriesSelector(Stage):
    """Judges every series and ranks the eligible ones."""

    inputs = ("scan",)
    output = "selection"

    def __init__(self, fragment: Fragment, *, limits: SelectionLimits, **options: Any) -> None:
        """Take the eligibility limits."""
        self.limits = limits
        super().__init__(fragment, **options)

    def process(self, scan: Scan) -> Selection:
        """The verdict on every series."""
        return choose_series(scan, self.limits)
