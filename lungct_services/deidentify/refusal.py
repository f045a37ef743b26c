"""Refuses objects of which nobody can tell what is written in them."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from pydicom import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from lungct.dicom_read.headers import text
from lungct_services.deidentify.leftovers import has_unreadable_text

_FIRST_OVERLAY, _LAST_OVERLAY, _OVERLAY_BIT_POSITION = 0x6000, 0x601E, 0x0102
_WORD_BITS = 16
_LABEL_MAP_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
ACCEPTED = {
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    SegmentationStorage,
    _LABEL_MAP_SEGMENTATION_STORAGE,
    SecondaryCaptureImageStorage,
}
"""Kinds of objects that are copied: reports name the patient in their text; other images were not tried."""
_SCREEN = re.compile(
    r"SCREEN ?(SAVE|CAPTURE|SHOT)|DOSE[ _]?(INFO|REPORT|SUMMARY|RECORD|SHEET)|PATIENT PROTOCOL|EXAM SUMMARY"
)
"""Descriptions of images that show text; scanners store some as CT images."""


def refusal(dataset: Dataset) -> str | None:
    """Return the code of the reason why an object is not passed on; None where it may be."""
    stated = text(dataset, "BurnedInAnnotation")
    is_capture = dataset.get("SOPClassUID") == SecondaryCaptureImageStorage
    reasons: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("KIND_NOT_ACCEPTED", lambda: dataset.get("SOPClassUID") not in ACCEPTED),
        ("NO_PATIENT_ID", lambda: not text(dataset, "PatientID")),
        ("BURNED_IN_ANNOTATION", lambda: stated == "YES"),
        ("RECOGNIZABLE_FEATURES", lambda: text(dataset, "RecognizableVisualFeatures") == "YES"),
        ("BURNED_IN_ANNOTATION_UNKNOWN", lambda: _is_screen(dataset) or (is_capture and stated != "NO")),
        ("OVERLAY_IN_PIXELS", lambda: _hides_overlay(dataset)),
        ("CHARACTER_SET", lambda: has_unreadable_text(dataset)),
    )
    return next((code for code, is_so in reasons if is_so()), None)


def _is_screen(dataset: Dataset) -> bool:
    """Return whether an image shows text of the scanner, whatever it says about itself."""
    described = " ".join(text(dataset, keyword) for keyword in ("ImageType", "SeriesDescription")).upper()
    is_coloured = dataset.SOPClassUID == CTImageStorage and text(dataset, "SamplesPerPixel") not in ("", "1")
    return is_coloured or _SCREEN.search(described) is not None


def _hides_overlay(dataset: Dataset) -> bool:
    """Return whether bits of the pixels beside the grey values may draw something."""
    for group in range(_FIRST_OVERLAY, _LAST_OVERLAY + 1, 2):
        position = dataset.get((group, _OVERLAY_BIT_POSITION))
        if position is not None and position.value:
            return True
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    pixels = dataset.get("PixelData")
    if not pixels or syntax is None or syntax.is_compressed or dataset.get("BitsAllocated") != _WORD_BITS:
        return False
    order = "<" if syntax.is_little_endian else ">"
    stored = np.frombuffer(pixels, f"{order}u2", len(pixels) // 2)
    highest = int(dataset.get("HighBit", _WORD_BITS - 1))
    lowest = highest + 1 - int(dataset.get("BitsStored", _WORD_BITS))
    beside = stored & np.uint16(~(((2 << highest) - 1) - ((1 << lowest) - 1)) & 0xFFFF)
    sign = np.where(stored >> highest & 1, (0xFFFF << (highest + 1)) & 0xFFFF, 0)
    is_sign = int(dataset.get("PixelRepresentation", 0)) == 1
    return bool(np.any(beside != 0) and not (is_sign and np.array_equal(beside, sign)))
