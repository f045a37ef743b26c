"""Finds the DICOM series of the input folder."""

from __future__ import annotations

from typing import Any

from monai.deploy.conditions import CountCondition
from monai.deploy.core import Fragment

from lungct.dicom_read import scan_folder
from lungct.records import Scan
from operators.stage import Stage


class DicomLoader(Stage):
    """Reads the headers of every file, once."""

    output = "scan"

    def __init__(self, fragment: Fragment, **options: Any) -> None:
        """Limit the operator to one run: without an input Holoscan would run it for ever."""
        super().__init__(fragment, CountCondition(fragment, 1), **options)

    def process(self) -> Scan:
        """Return all series of the input folder."""
        return scan_folder(self.task.input_path)
