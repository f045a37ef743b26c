"""Only what the settings ask for is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from lungct.delivery import deliver
from lungct.file_names import HTML_FILE
from lungct.records import Analysis
from lungct.settings import DicomSettings, OutputSettings

NO_DICOM = DicomSettings(
    segmentations=False, structured_report=False, encapsulated_pdf=False, secondary_captures=False
)


def test_html_alone_renders_no_pdf(
    tmp_path: Path, analysis: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("lungct.delivery.pdf_report")
    deliver(tmp_path, OutputSettings(label_maps=False, report_pdf=False, dicom=NO_DICOM), analysis)
    assert [path.name for path in tmp_path.iterdir()] == [HTML_FILE]
