"""Every DICOM object of an analysis, as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from highdicom.base import SOPClass
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from lungct.dicom_write.capture import draw_key_slices
from lungct.dicom_write.codes import PDF_TITLE
from lungct.dicom_write.origin import Origin, find_origin, finish
from lungct.dicom_write.references import can_refer_to, list_source_images, make_reference
from lungct.dicom_write.segmentation import build_segmentations
from lungct.dicom_write.structured_report import build_structured_report
from lungct.file_names import (
    ANATOMY_SEG,
    DICOM_FOLDER,
    KEY_SLICES,
    MEASUREMENTS_SR,
    OPACITIES_SEG,
    REPORT_DICOM,
)
from lungct.records import Analysis
from lungct.settings import DicomSettings

PDF_SERIES = 9304


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
        masks = build_segmentations(analysis, images, origin, settings)
        yield from masks.items()
        if settings.structured_report:
            anatomy, opacities = masks[ANATOMY_SEG], masks.get(OPACITIES_SEG)
            yield MEASUREMENTS_SR, build_structured_report(analysis, images, anatomy, opacities, origin)
    if settings.secondary_captures:
        yield from zip(KEY_SLICES, draw_key_slices(analysis, origin), strict=False)
    if pdf is not None:
        yield REPORT_DICOM, _encapsulate(pdf(), images if can_refer_to(analysis.chest) else (), origin)


def _encapsulate(pdf: bytes, images: Sequence[Dataset], origin: Origin) -> SOPClass:
    """Return the report as Encapsulated PDF (PS3.3 A.45.1), with references to the images that are given."""
    document = SOPClass(
        study_instance_uid=origin.study_uid,
        sop_class_uid=EncapsulatedPDFStorage,
        modality="DOC",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **origin.identity("pdf", PDF_SERIES, "Report (AI, research use only)"),
    )
    document.ConversionType = "WSD"
    document.AcquisitionDateTime = None
    document.BurnedInAnnotation = "YES"
    title = ("Chest CT infection analysis (research use only)", origin.outside_method)
    document.DocumentTitle = "; ".join(filter(None, title))
    document.ConceptNameCodeSequence = [CodedConcept.from_code(PDF_TITLE)]
    document.VerificationFlag = "UNVERIFIED"
    if images:
        document.SourceInstanceSequence = [
            make_reference(image.SOPClassUID, image.SOPInstanceUID) for image in images
        ]
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocumentLength = len(pdf)
    document.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    finish(document, origin)
    return document
