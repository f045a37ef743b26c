"""Every DICOM object of an analysis, as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from pydicom import Dataset

from lungct.dicom_write.capture import secondary_captures
from lungct.dicom_write.encapsulated import encapsulated_pdf
from lungct.dicom_write.references import source_images
from lungct.dicom_write.segmentation import anatomy_segmentation, findings_segmentation, tree_segmentation
from lungct.dicom_write.shared_modules import origin_of
from lungct.dicom_write.structured_report import structured_report
from lungct.file_names import (
    ANATOMY_SEG,
    DICOM_FOLDER,
    FINDINGS_SEG,
    KEY_SLICES,
    MEASUREMENTS_SR,
    REPORT_DICOM,
    TREE_SEG,
)
from lungct.records import Analysis
from lungct.settings import DicomSettings


def write_dicom(
    folder: Path,
    settings: DicomSettings,
    analysis: Analysis,
    pdf: Callable[[], bytes] | None,
    created: datetime,
) -> None:
    """Write the objects that the settings ask for into the sub-folder ``dicom``.

    Args:
        folder: existing folder.
        settings: which objects.
        analysis: what was found.
        pdf: gives the report, and may wait for it; None leaves its object out.
        created: time stamp of all objects, local time.

    Raises:
        OSError: a file cannot be written.
    """
    for name, sop in _objects(settings, analysis, pdf, created):
        path = folder / DICOM_FOLDER / name
        path.parent.mkdir(exist_ok=True)
        sop.save_as(path, enforce_file_format=True)


def _objects(
    settings: DicomSettings, analysis: Analysis, pdf: Callable[[], bytes] | None, created: datetime
) -> Iterator[tuple[str, Dataset]]:
    origin = origin_of(analysis, settings, created)
    images = source_images(analysis.chest, origin)
    if settings.segmentations:
        anatomy = anatomy_segmentation(analysis, images, origin, settings)
        opacities = findings_segmentation(analysis, images, origin, settings)
        yield ANATOMY_SEG, anatomy
        if opacities is not None:
            yield FINDINGS_SEG, opacities
        if (tree := tree_segmentation(analysis, images, origin, settings)) is not None:
            yield TREE_SEG, tree
        if settings.structured_report:
            yield MEASUREMENTS_SR, structured_report(analysis, images, anatomy, opacities, origin)
    if settings.secondary_captures:
        yield from zip(KEY_SLICES, secondary_captures(analysis, origin), strict=False)
    if pdf is not None:
        yield REPORT_DICOM, encapsulated_pdf(pdf(), images, origin)
