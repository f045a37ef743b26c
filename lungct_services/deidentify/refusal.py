"""Objects that are not passed on, since nobody can tell what is written in them."""

from __future__ import annotations

from collections.abc import Set
from io import BytesIO

from pydicom import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from lungct.dicom_read.headers import text

_LABEL_MAP_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
ACCEPTED = {
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    SegmentationStorage,
    _LABEL_MAP_SEGMENTATION_STORAGE,
    SecondaryCaptureImageStorage,
}
"""Reports and documents name the patient in their content; other images were not tried."""
SHORTEST_LEFT = 4
"""Shorter parts of a name occur by chance."""


def refusal(dataset: Dataset) -> str | None:
    """Code of the reason why an object is not passed on; None where it may be."""
    if dataset.get("SOPClassUID") not in ACCEPTED:
        return "KIND_NOT_ACCEPTED"
    if not text(dataset, "PatientID"):
        return "NO_PATIENT_ID"
    stated = text(dataset, "BurnedInAnnotation")
    if stated == "YES":
        return "BURNED_IN_ANNOTATION"
    if text(dataset, "RecognizableVisualFeatures") == "YES":
        return "RECOGNIZABLE_FEATURES"
    is_screen = "SCREEN SAVE" in text(dataset, "ImageType").upper()
    if stated != "NO" and (is_screen or dataset.SOPClassUID == SecondaryCaptureImageStorage):
        return "BURNED_IN_ANNOTATION_UNKNOWN"
    return None


def is_left(identifying: Set[str], changed: Dataset) -> bool:
    """Whether something that identified the patient still stands in the header of a changed data set."""
    header = Dataset({element.tag: element for element in changed if element.tag.group != 0x7FE0})
    written = BytesIO()
    header.save_as(written, implicit_vr=False, little_endian=True)
    letters = written.getvalue().decode("utf-8", "ignore").casefold()
    return any(word.casefold() in letters for word in identifying if len(word) >= SHORTEST_LEFT)
