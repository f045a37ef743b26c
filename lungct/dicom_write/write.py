"""Every DICOM object of an analysis, as files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pydicom import Dataset

from lungct.dicom_write.capture import N_CAPTURES, secondary_captures
from lungct.dicom_write.common import origin_of
from lungct.dicom_write.encapsulated import encapsulated_pdf
from lungct.dicom_write.references import source_images
from lungct.dicom_write.segmentation import anatomy_segmentation, findings_segmentation, tree_segmentation
from lungct.dicom_write.structured_report import structured_report
from lungct.records import Analysis
from lungct.settings import DicomSettings

DICOM_FOLDER = "dicom"
_CAPTURES = tuple(f"key_slice_{number}.dcm" for number in range(1, N_CAPTURES + 1))
_ANATOMY, _OPACITIES, _TREE = "anatomy_seg.dcm", "findings_seg.dcm", "airways_vessels_seg.dcm"
_REPORT, _PDF = "measurements_sr.dcm", "report_pdf.dcm"

DICOM_FILES = tuple(
    f"{DICOM_FOLDER}/{name}" for name in (_ANATOMY, _OPACITIES, _TREE, _REPORT, _PDF, *_CAPTURES)
)
"""In a folder of their own, since exporters send everything in a folder as DICOM."""


def write_dicom(
    folder: Path, settings: DicomSettings, analysis: Analysis, pdf: bytes | None, created: datetime
) -> None:
    """Write the objects that the settings ask for into the sub-folder ``dicom``.

    Args:
        folder: existing folder.
        settings: which objects.
        analysis: what was found.
        pdf: the report; None leaves its object out.
        created: time stamp of all objects, local time.

    Raises:
        OSError: a file cannot be written.
    """
    for name, sop in _objects(settings, analysis, pdf, created):
        path = folder / DICOM_FOLDER / name
        path.parent.mkdir(exist_ok=True)
        sop.save_as(path, enforce_file_format=True)


def _objects(
    settings: DicomSettings, analysis: Analysis, pdf: bytes | None, created: datetime
) -> Iterator[tuple[str, Dataset]]:
    origin = origin_of(analysis, settings, created)
    images = source_images(analysis.chest, origin)
    if settings.segmentations:
        anatomy = anatomy_segmentation(analysis, images, origin, settings)
        opacities = findings_segmentation(analysis, images, origin, settings)
        yield _ANATOMY, anatomy
        if opacities is not None:
            yield _OPACITIES, opacities
        if (tree := tree_segmentation(analysis, images, origin, settings)) is not None:
            yield _TREE, tree
        if settings.structured_report:
            yield _REPORT, structured_report(analysis, images, anatomy, opacities, origin)
    if pdf is not None:
        yield _PDF, encapsulated_pdf(pdf, images, origin)
    if settings.secondary_captures:
        yield from zip(_CAPTURES, secondary_captures(analysis, origin), strict=False)
