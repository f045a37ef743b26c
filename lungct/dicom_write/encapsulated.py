"""The report page as DICOM Encapsulated PDF (PS3.3 A.45.1)."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.base import SOPClass
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from lungct.dicom_write.codes import PDF_TITLE
from lungct.dicom_write.origin import Origin, finish
from lungct.dicom_write.references import make_reference

SERIES = 9304


def encapsulate_pdf(pdf: bytes, images: Sequence[Dataset], origin: Origin) -> SOPClass:
    """Wrap the report.

    Args:
        pdf: the file.
        images: :func:`lungct.dicom_write.references.list_source_images`; none where references would lie.
        origin: identity.
    """
    document = SOPClass(
        study_instance_uid=origin.study_uid,
        sop_class_uid=EncapsulatedPDFStorage,
        modality="DOC",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **origin.identity("pdf", SERIES, "Report (AI, research use only)"),
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
