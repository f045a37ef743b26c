"""Every DICOM object of an analysis, as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from pydicom import Dataset

from lungct.dicom_write.capture import draw_key_slices
from lungct.dicom_write.encapsulated import encapsulate_pdf
from lungct.dicom_write.origin import find_origin
from lungct.dicom_write.references import can_refer_to, list_source_images
from lungct.dicom_write.segmentation import (
    build_lobe_segmentation,
    build_opacity_segmentation,
    build_tree_segmentation,
)
from lungct.dicom_write.structured_report import build_structured_report
from lungct.file_names import (
    ANATOMY_SEG,
    DICOM_FOLDER,
    KEY_SLICES,
    MEASUREMENTS_SR,
    OPACITIES_SEG,
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
    origin = find_origin(analysis, settings, created)
    images = list_source_images(analysis.chest, origin)
    if settings.segmentations:
        anatomy = build_lobe_segmentation(analysis, images, origin, settings)
        opacities = build_opacity_segmentation(analysis, images, origin, settings)
        yield ANATOMY_SEG, anatomy
        if opacities is not None:
            yield OPACITIES_SEG, opacities
        if (tree := build_tree_segmentation(analysis, images, origin, settings)) is not None:
            yield TREE_SEG, tree
        if settings.structured_report:
            yield MEASUREMENTS_SR, build_structured_report(analysis, images, anatomy, opacities, origin)
    if settings.secondary_captures:
        yield from zip(KEY_SLICES, draw_key_slices(analysis, origin), strict=False)
    if pdf is not None:
        yield REPORT_DICOM, encapsulate_pdf(pdf(), images if can_refer_to(analysis.chest) else (), origin)
