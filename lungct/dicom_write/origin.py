"""The common part of all DICOM results: patient, study, equipment, UIDs and time stamps of their source.

Patient and study are carried byte for byte in the character set of the source (ADR 0045).
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from highdicom import UID
from highdicom.base import SOPClass
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import generate_uid
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR, VR, PersonName

import lungct
from lungct.dicom_read.character_set import declared_encodings
from lungct.dicom_read.headers import DAMAGED
from lungct.records import Analysis
from lungct.settings import DicomSettings

APPLICATION = "lungct"

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
"""Groups of patient, clinical trial, request and visit, which results copy."""


@dataclass(frozen=True, eq=False)
class Origin:
    """Source and identity of the objects of one analysis.

    Attributes:
        header: attributes of the source as stored, without pixels.
        study_uid: that of the source; one of ours where it has none.
        digest: of everything that decides their content; equal digests give equal UIDs.
        serial_number: which software with which weights made them.
        created: the time stamp of all of them, local time.
        outside_method: :attr:`lungct.records.Selection.outside_method`.
    """

    header: Dataset
    study_uid: UID
    digest: str
    serial_number: str
    created: datetime
    outside_method: str

    def uid(self, *what: object) -> UID:
        """Return the UID of a part of this analysis, the same in every run that finds the same (ADR 0016)."""
        return UID(generate_uid(entropy_srcs=[self.digest, *map(str, what)]))

    def identity(self, kind: str, series_number: int, description: str, instance: int = 1) -> dict[str, Any]:
        """Return arguments of highdicom's constructors that identify an object and its maker.

        Args:
            kind: name shared by the objects of one series.
            series_number: Series Number.
            description: Series Description.
            instance: Instance Number within the series.
        """
        if self.outside_method:
            description = f"{description}, OUTSIDE METHOD"
        return {
            "series_instance_uid": self.uid(kind),
            "series_number": series_number,
            "series_description": description,
            "sop_instance_uid": self.uid(kind, instance),
            "instance_number": instance,
            "manufacturer": APPLICATION,
            "manufacturer_model_name": APPLICATION,
            "software_versions": lungct.__version__,
            "device_serial_number": self.serial_number,
            "content_date": self.created.date(),
            "content_time": self.created.time(),
        }


def find_origin(analysis: Analysis, settings: DicomSettings, created: datetime) -> Origin:
    """Return the origin of the objects of an analysis."""
    findings, tree, header = analysis.findings, analysis.tree, _keep_as_stored(analysis.chest.patient.header)
    series = analysis.chest.selection.analysed
    weights = hashlib.sha256("".join(model.sha256 for model in findings.models).encode())
    digest = hashlib.sha256(lungct.__version__.encode())
    instances = sorted({(image.sop_instance_uid, image.frame) for image in series.slices})
    for part in (instances, _identify(header), findings, settings):
        digest.update(repr(part).encode())
    for mask in (analysis.anatomy.lobes, analysis.opacities.mask, tree.airways, tree.vessels):
        digest.update(np.ascontiguousarray(mask).data)
    return Origin(
        header=header,
        study_uid=valid_uid(series.study_uid),
        digest=digest.hexdigest(),
        serial_number=f"{lungct.__version__}-{weights.hexdigest()[:12]}",
        created=created,
        outside_method=analysis.chest.selection.outside_method,
    )


def valid_uid(text: str) -> UID:
    """Return a UID as it is; for any other text, such as a UUID, always the same one of ours."""
    return UID(text) if UID(text).is_valid else UID(generate_uid(entropy_srcs=[APPLICATION, text]))


def finish(sop: SOPClass, origin: Origin) -> None:
    """Give an object the patient and study of its source and the time stamp of its analysis.

    highdicom fills both while it builds an object, but refuses values that are not as the standard says,
    stamps the clock on it, and re-encodes text. Our own text is ASCII, which every character set of DICOM
    has. So the object takes the character set of the source, right or wrong: a PACS knows the patient by
    these bytes.
    """
    sop.copy_patient_and_study_information(origin.header)
    for keyword in TYPE_2_KEYWORDS:
        if keyword not in sop:
            setattr(sop, keyword, None)
    sop.pop("SpecificCharacterSet", None)
    if origin.header.get("SpecificCharacterSet"):
        sop.add(origin.header["SpecificCharacterSet"])
    sop.StudyInstanceUID = origin.study_uid
    sop.InstanceCreationDate = sop.SeriesDate = sop.ContentDate
    sop.InstanceCreationTime = sop.SeriesTime = sop.ContentTime
    for keyword in ("DateOfSecondaryCapture", "TimeOfSecondaryCapture"):
        if keyword in sop:
            delattr(sop, keyword)
    for equipment in sop.get("ContributingEquipmentSequence", ()):
        equipment.pop("ContributionDateTime", None)


def _keep_as_stored(header: Dataset, encodings: list[str] | None = None) -> Dataset:
    """Return the elements of a header that can be written again; text stays in the bytes of its file.

    An item of a sequence takes the ``encodings`` of the data set around it.
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


def _as_stored(header: Dataset, element: DataElement | RawDataElement, encodings: list[str]) -> DataElement:
    if isinstance(element, RawDataElement):
        vr = element.VR if element.VR not in (None, VR.UN) else dictionary_VR(element.tag)
        if vr in CUSTOMIZABLE_CHARSET_VR and element.value:
            value = PersonName(element.value, encodings) if vr == VR.PN else element.value
            return DataElement(element.tag, vr, value)
    element = header[element.tag]
    if element.VR == VR.SQ:
        items = [_keep_as_stored(item, encodings) for item in element.value]
        return DataElement(element.tag, VR.SQ, items)
    return element


def _check_writable(element: DataElement, encodings: list[str]) -> None:
    """Raise what pydicom would raise when the element is written, and for numbers that are none."""
    if element.VR in (VR.DS, VR.IS):
        for value in element.value if element.VM > 1 else [element.value]:
            float(value or 0)
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    write_data_element(file, element, encodings)


def _show(value: object) -> object:
    return value.original_string if isinstance(value, PersonName) else repr(value)


def _identify(header: Dataset) -> list[str]:
    """Return what tells patient and study from all others."""
    return [
        f"{element.tag} {_show(element.value)}"
        for element in header
        if element.tag.group in _IDENTITY_GROUPS or element.keyword in (*TYPE_2_KEYWORDS, "StudyDescription")
    ]
