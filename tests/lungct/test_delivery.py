"""Only what the settings ask for is made, and a full disk is told."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from lungct.delivery import deliver
from lungct.errors import OutputError
from lungct.file_names import HTML_FILE
from lungct.records import Analysis
from lungct.settings import DicomSettings, OutputSettings

NO_DICOM = DicomSettings(
    segmentations=False, structured_report=False, encapsulated_pdf=False, secondary_captures=False
)


def test_html_alone_renders_no_pdf(
    tmp_path: Path, analysis: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("lungct.delivery.render_pdf")
    deliver(tmp_path, OutputSettings(label_maps=False, report_pdf=False, dicom=NO_DICOM), analysis)
    assert [path.name for path in tmp_path.iterdir()] == [HTML_FILE]


@pytest.fixture
def no_room() -> Iterator[None]:
    """No file may grow beyond 4 kB: what a full disk does, without filling one."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.fault("machine", "Disk full while the results are written", "exit code 5: free space")
@pytest.mark.usefixtures("no_room")
@pytest.mark.parametrize(
    "outputs",
    [
        OutputSettings(report_pdf=False, report_html=False, dicom=NO_DICOM),
        OutputSettings(label_maps=False, report_html=False, dicom=NO_DICOM),
        OutputSettings(label_maps=False, report_pdf=False, dicom=NO_DICOM),
        OutputSettings(label_maps=False, report_pdf=False, report_html=False),
    ],
    ids=["label maps", "pdf", "html", "dicom"],
)
def test_full_disk_is_told(tmp_path: Path, analysis: Analysis, outputs: OutputSettings) -> None:
    with pytest.raises(OutputError, match="free space"):
        deliver(tmp_path, outputs, analysis)
