"""Patient and study of the source, which results carry byte for byte in its own character set (ADR 0045)."""

from __future__ import annotations

from contextlib import suppress

from highdicom.base import SOPClass
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR, VR, PersonName

from lungct.dicom_read.character_set import declared_encodings
from lungct.dicom_read.headers import DAMAGED

TYPE_2_KEYWORDS = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1): in every object, empty where unknown."""

_IDENTITY_GROUPS = {0x0010, 0x0012, 0x0032, 0x0038}
"""Attributes of patient, clinical trial, request and visit, which results copy."""


def copy_patient_and_study(sop: SOPClass, header: Dataset) -> None:
    """Give an object the patient and study of its source.

    Our own text is ASCII, which every character set of DICOM has. So the object takes the character set of
    the source, right or wrong: a PACS knows the patient by these bytes.

    Args:
        sop: an object of ours.
        header: :func:`keep_as_stored`.
    """
    sop.copy_patient_and_study_information(header)
    for keyword in TYPE_2_KEYWORDS:
        if keyword not in sop:
            setattr(sop, keyword, None)
    sop.pop("SpecificCharacterSet", None)
    if header.get("SpecificCharacterSet"):
        sop.add(header["SpecificCharacterSet"])


def keep_as_stored(header: Dataset, encodings: list[str] | None = None) -> Dataset:
    """Return the elements of a header that can be written again; text stays in the bytes of its file.

    Args:
        header: of an image, without pixels.
        encodings: of the data set around it, where ``header`` is an item of a sequence.
    """
    if encodings is None or "SpecificCharacterSet" in header:
        encodings = declared_encodings(header)
    kept = Dataset()
    for tag in list(header.keys()):
        with suppress(*DAMAGED):
            element = _as_stored(header, header.get_item(tag), encodings)
            _check_writable(element, encodings)
            kept.add(element)
    return kept


def identify(header: Dataset) -> list[str]:
    """Return what tells patient and study from all others."""
    return [
        f"{element.tag} {element.value.original_string if _is_name(element) else element.value!r}"
        for element in header
        if element.tag.group in _IDENTITY_GROUPS or element.keyword in (*TYPE_2_KEYWORDS, "StudyDescription")
    ]


def _as_stored(header: Dataset, element: DataElement | RawDataElement, encodings: list[str]) -> DataElement:
    if isinstance(element, RawDataElement):
        vr = element.VR if element.VR not in (None, VR.UN) else dictionary_VR(element.tag)
        if vr in CUSTOMIZABLE_CHARSET_VR and element.value:
            value = PersonName(element.value, encodings) if vr == VR.PN else element.value
            return DataElement(element.tag, vr, value)
    element = header[element.tag]
    if element.VR == VR.SQ:
        items = [keep_as_stored(item, encodings) for item in element.value]
        return DataElement(element.tag, VR.SQ, items)
    return element


def _is_name(element: DataElement) -> bool:
    return isinstance(element.value, PersonName)


def _check_writable(element: DataElement, encodings: list[str]) -> None:
    """Raise what pydicom would raise when the element is written, and for numbers that are none."""
    if element.VR in (VR.DS, VR.IS):
        for value in element.value if element.VM > 1 else [element.value]:
            float(value or 0)
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    write_data_element(file, element, encodings)
