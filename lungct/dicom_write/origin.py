"""What all DICOM results share: identity of the patient and study, equipment, UIDs and time stamps."""

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
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import generate_uid

import lungct
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
"""Attributes of patient, clinical trial, request and visit, which results copy."""


@dataclass(frozen=True, eq=False)
class Origin:
    """Where the objects of one analysis come from.

    Attributes:
        header: attributes of the source, as text, without pixels.
        digest: of everything that decides their content; equal digests give equal UIDs.
        serial_number: which software with which weights made them.
        created: the time stamp of all of them, local time.
    """

    header: Dataset
    digest: str
    serial_number: str
    created: datetime

    def uid(self, *what: object) -> UID:
        """The UID of a part of this analysis: the same in every run that finds the same (ADR 0016)."""
        return UID(generate_uid(entropy_srcs=[self.digest, *map(str, what)]))

    def identity(self, kind: str, series_number: int, description: str, instance: int = 1) -> dict[str, Any]:
        """Arguments of highdicom's constructors that identify an object of ours and who made it.

        Args:
            kind: of objects that form one series.
            series_number: of that series.
            description: Series Description.
            instance: Instance Number within the series.
        """
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
            "specific_character_set": "ISO_IR 192",
            "content_date": self.created.date(),
            "content_time": self.created.time(),
        }


def find_origin(analysis: Analysis, settings: DicomSettings, created: datetime) -> Origin:
    """The origin of the objects of an analysis."""
    findings, tree, header = analysis.findings, analysis.tree, readable(analysis.chest.patient.header)
    images = analysis.chest.selection.analysed.slices
    weights = hashlib.sha256("".join(model.sha256 for model in findings.models).encode())
    digest = hashlib.sha256(lungct.__version__.encode())
    identity = [str(element) for element in header if _is_of_patient_or_study(element)]
    for part in (
        sorted({(image.sop_instance_uid, image.frame) for image in images}),
        identity,
        findings,
        settings,
    ):
        digest.update(repr(part).encode())
    for mask in (analysis.anatomy.lobes, analysis.opacities.mask, tree.airways, tree.vessels):
        digest.update(np.ascontiguousarray(mask).data)
    return Origin(
        header=header,
        digest=digest.hexdigest(),
        serial_number=f"{lungct.__version__}-{weights.hexdigest()[:12]}",
        created=created,
    )


def _is_of_patient_or_study(element: DataElement) -> bool:
    return element.tag.group in _IDENTITY_GROUPS or element.keyword in (*TYPE_2_KEYWORDS, "StudyDescription")


def readable(header: Dataset) -> Dataset:
    """The elements of a header that can be read and written again, decoded from their character set."""
    found = Dataset()
    for tag in list(header.keys()):
        with suppress(*DAMAGED):
            element = header[tag]
            if element.VR == "SQ":
                element = DataElement(tag, "SQ", [readable(item) for item in element.value])
            _check_writable(element)
            found.add(element)
    return found


def _check_writable(element: DataElement) -> None:
    """Raise what pydicom would raise when the element is written, and for numbers that are none."""
    if element.VR in ("DS", "IS"):
        for value in element.value if element.VM > 1 else [element.value]:
            float(value or 0)
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    write_data_element(file, element, ["utf-8"])


def finish(sop: SOPClass, origin: Origin) -> None:
    """Give an object the patient and study of its source and the time stamp of its analysis.

    highdicom fills both while it builds an object, but refuses values that are not as the standard says,
    stamps the clock on it, and keeps the character set of the source.
    """
    sop.copy_patient_and_study_information(origin.header)
    for keyword in TYPE_2_KEYWORDS:
        if keyword not in sop:
            setattr(sop, keyword, None)
    sop.SpecificCharacterSet = "ISO_IR 192"
    sop.InstanceCreationDate = sop.ContentDate
    sop.InstanceCreationTime = sop.ContentTime
    for keyword in ("DateOfSecondaryCapture", "TimeOfSecondaryCapture"):
        if keyword in sop:
            delattr(sop, keyword)
    for equipment in sop.get("ContributingEquipmentSequence", ()):
        equipment.pop("ContributionDateTime", None)
