"""Finds the DICOM series of the input folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai.deploy.conditions import CountCondition
from monai.deploy.core import Fragment

from lungct.dicom_read import scan_folder
from lungct.records import Scan
from operators.stage import Stage


class DicomLoader(Stage):
    """Reads the headers of every file, once."""

    output = "scan"

    def __init__(self, fragment: Fragment, *, input_path: Path, **options: Any) -> None:
        """Take the input folder."""
        self.input_path = input_path
        super().__init__(fragment, CountCondition(fragment, 1), **options)

    def process(self) -> Scan:
        """All series of the input folder."""
        return scan_folder(self.input_path)
