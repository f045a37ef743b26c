"""Where the DICOM results of an analysis come from: source, equipment, UIDs and time stamps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from highdicom import UID
from highdicom.base import SOPClass
from pydicom import Dataset
from pydicom.uid import generate_uid

import lungct
from lungct.dicom_write.patient_study import copy_patient_and_study, identify, keep_as_stored
from lungct.records import Analysis
from lungct.settings import DicomSettings

APPLICATION = "lungct"


@dataclass(frozen=True, eq=False)
class Origin:
    """Where the objects of one analysis come from.

    Attributes:
        header: attributes of the source as stored, without pixels.
        study_uid: of the source; one of ours where it has none.
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
    outside_method: str = ""

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
    findings, tree, header = analysis.findings, analysis.tree, keep_as_stored(analysis.chest.patient.header)
    series = analysis.chest.selection.analysed
    weights = hashlib.sha256("".join(model.sha256 for model in findings.models).encode())
    digest = hashlib.sha256(lungct.__version__.encode())
    instances = sorted({(image.sop_instance_uid, image.frame) for image in series.slices})
    for part in (instances, identify(header), findings, settings):
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
    stamps the clock on it, and re-encodes text.
    """
    copy_patient_and_study(sop, origin.header)
    sop.StudyInstanceUID = origin.study_uid
    sop.InstanceCreationDate = sop.SeriesDate = sop.ContentDate
    sop.InstanceCreationTime = sop.SeriesTime = sop.ContentTime
    for keyword in ("DateOfSecondaryCapture", "TimeOfSecondaryCapture"):
        if keyword in sop:
            delattr(sop, keyword)
    for equipment in sop.get("ContributingEquipmentSequence", ()):
        equipment.pop("ContributionDateTime", None)
