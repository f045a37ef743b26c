"""Read from the header of one file the part of a series that it holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    MediaStorageDirectoryStorage,
    SegmentationStorage,
    SurfaceSegmentationStorage,
)

from lungct.dicom_read.descriptions import is_animal, says_chest
from lungct.dicom_read.headers import (
    age_years,
    frame_group,
    integer,
    is_expiration,
    items_of,
    number,
    numbers,
    study_date,
    text,
)
from lungct.dicom_read.privacy import IDENTIFYING, identifying_texts
from lungct.records import Reason, Series, SliceHeader

_LABEL_MAP_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
_SEGMENTATIONS = (SegmentationStorage, SurfaceSegmentationStorage, _LABEL_MAP_SEGMENTATION_STORAGE)

_MARKS = (
    "ConvolutionKernel", "ContrastBolusAgent", "NominalPercentageOfCardiacPhase",
    "TemporalPositionIdentifier", "TemporalPositionIndex", "SeriesTime", "AcquisitionDateTime",
    "AcquisitionTime", "ScanOptions", "StackID",
)  # fmt: skip
"""What differs between passes of a scanner that share a Series Instance UID."""

OF_ONE_IMAGE = (
    "SOPInstanceUID", "InstanceNumber", "ImagePositionPatient", "AcquisitionDateTime", "AcquisitionTime",
)  # fmt: skip
"""Attributes that are read of every image; most others are the same in a whole series."""

OF_MANY_IMAGES = (
    "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "Modality", "ImageType", "FrameType", "LossyImageCompression", "AcquisitionNumber", "Rows", "Columns",
    "ImageOrientationPatient", "PixelSpacing", "SeriesNumber", "Manufacturer", "SliceThickness",
    "BodyPartExamined", "PatientAge", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate",
    "SeriesDescription", "ProtocolName", "PerformedProcedureStepDescription", "StudyDescription",
    "RequestedProcedureDescription", "PatientSpeciesDescription", "PatientSpeciesCodeSequence",
    "PatientBreedDescription", "PatientBreedCodeSequence", "PatientSexNeutered", "ResponsiblePersonRole",
    "FrameAnatomySequence", "AnatomicRegionSequence",
    *IDENTIFYING, *(mark for mark in _MARKS if mark not in OF_ONE_IMAGE),
)  # fmt: skip
"""All other attributes that are read of a file with a single image."""

_TAGS_OF_MANY = tuple(map(Tag, OF_MANY_IMAGES))


MOST_FRAMES = 20_000
"""Own decision: no CT has more images; a file with more would take minutes and tell nothing."""


class UnusableFileError(Exception):
    """The file is part of no series."""

    def __init__(self, code: str, message: str) -> None:
        """Say why, for machines and for people."""
        super().__init__(message)
        self.reason = Reason(code, message)


class FoundImages:
    """The images of a scan by series; what their headers hold in the same bytes is converted once.

    To be dropped with the scan, since names of patients are among the values.

    Attributes:
        parts: one a file, by UID of the study, UID of the series and ID of the patient.
        identifying: of every header, the texts that name its patient.
    """

    def __init__(self) -> None:
        """Begin without any image."""
        self.parts: defaultdict[tuple[str, str, str], list[Series]] = defaultdict(list)
        self.identifying: set[tuple[str, ...]] = set()
        self._known: dict[Hashable, tuple[str, Series]] = {}

    def add(self, dataset: Dataset, path: Path, name: str) -> None:
        """Add the image of one file, or its frames.

        Args:
            dataset: header of the file, of which no value was looked at yet.
            path: the file.
            name: how messages call it.

        Raises:
            UnusableFileError: it is no image, or lacks what every image has.
        """
        stored = _stored_values(dataset)
        if stored in self._known:
            patient_id, like_it = self._known[stored]
            part = replace(like_it, slices=(_with_own_values(like_it.slices[0], dataset, path, name),))
        else:
            self.identifying.add(identifying_texts(dataset))
            _require_image(dataset)
            patient_id, part = text(dataset, "PatientID"), _part_of_series(dataset, path, name)
            if stored is not None:
                self._known[stored] = patient_id, part
        self.parts[part.study_uid, part.series_uid, patient_id].append(part)


def _stored_values(dataset: Dataset) -> Hashable | None:
    """Return the bytes of all that images often share; None for frames, and where values were looked at."""
    if "PerFrameFunctionalGroupsSequence" in dataset:
        return None
    elements = dict(dataset.items())
    found = [elements.get(tag) for tag in _TAGS_OF_MANY]
    if not all(element is None or isinstance(element, RawDataElement) for element in found):
        return None
    media_class = text(getattr(dataset, "file_meta", Dataset()), "MediaStorageSOPClassUID")
    return (
        dataset.original_encoding,
        str(dataset.original_character_set),
        media_class,
        *((element.VR, element.value) if element else None for element in found),
    )


def _with_own_values(image: SliceHeader, dataset: Dataset, path: Path, name: str) -> SliceHeader:
    """Return the header of an image that differs from a known one in its own attributes only."""
    marks = (
        text(dataset, keyword) if keyword in OF_ONE_IMAGE else mark
        for keyword, mark in zip(_MARKS, image.marks, strict=True)
    )
    return replace(
        image,
        path=path,
        name=name,
        instance_number=integer(dataset, "InstanceNumber"),
        position_mm=numbers(dataset, "ImagePositionPatient", 3),  # type: ignore[arg-type]
        sop_instance_uid=_from_file_header(dataset, "SOPInstanceUID", "MediaStorageSOPInstanceUID"),
        marks=tuple(marks),
    )


def _part_of_series(dataset: Dataset, path: Path, name: str) -> Series:
    frames = len(items_of(dataset, "PerFrameFunctionalGroupsSequence")) or 1
    if frames > MOST_FRAMES:
        raise UnusableFileError("TOO_MANY_FRAMES", f"holds {frames} frames, more than any CT")
    slices = tuple(
        _slice_header(dataset, path, f"{name} frame {frame + 1}" if frames > 1 else name, frame)
        for frame in range(frames)
    )
    return _series(dataset, slices)


def _require_image(dataset: Dataset) -> None:
    sop_class = _from_file_header(dataset, "SOPClassUID", "MediaStorageSOPClassUID")
    if sop_class == MediaStorageDirectoryStorage:
        raise UnusableFileError("DICOMDIR", "is a directory of other files")
    if sop_class in _SEGMENTATIONS or not integer(dataset, "Rows") or not integer(dataset, "Columns"):
        kind = UID(sop_class).name if sop_class else "object without SOP class"
        raise UnusableFileError("NOT_AN_IMAGE", f"is not an image but {kind}")
    if not sop_class:
        raise UnusableFileError("INCOMPLETE_HEADER", "lacks SOPClassUID")


def _from_file_header(dataset: Dataset, keyword: str, meta_keyword: str) -> str:
    """Return a UID of the data set, or where it has none, that of the file header."""
    return _uid(dataset, keyword) or _uid(getattr(dataset, "file_meta", Dataset()), meta_keyword)


def _uid(dataset: Dataset, keyword: str) -> str:
    """Return one UID; empty where there is none, or several."""
    value = text(dataset, keyword)
    return "" if "\\" in value else value


def _slice_header(dataset: Dataset, path: Path, name: str, frame: int) -> SliceHeader:
    """Return the header of one image or frame."""
    place = frame_group(dataset, frame, "PlanePositionSequence")
    plane = frame_group(dataset, frame, "PlaneOrientationSequence")
    spacing_mm = numbers(frame_group(dataset, frame, "PixelMeasuresSequence"), "PixelSpacing", 2)
    frame_type = text(frame_group(dataset, frame, "CTImageFrameTypeSequence"), "FrameType")
    image_type = (frame_type or text(dataset, "ImageType")).upper().split("\\")
    return SliceHeader(
        path=path,
        instance_number=integer(dataset, "InstanceNumber"),
        acquisition_number=integer(dataset, "AcquisitionNumber"),
        rows=integer(dataset, "Rows") or 0,
        columns=integer(dataset, "Columns") or 0,
        position_mm=numbers(place, "ImagePositionPatient", 3),  # type: ignore[arg-type]
        orientation=numbers(plane, "ImageOrientationPatient", 6),  # type: ignore[arg-type]
        pixel_spacing_mm=spacing_mm if spacing_mm and min(spacing_mm) > 0 else None,  # type: ignore[arg-type]
        image_type=tuple(part.strip() for part in image_type),
        is_lossy=text(dataset, "LossyImageCompression") == "01",
        frame=frame,
        name=name,
        sop_class_uid=_from_file_header(dataset, "SOPClassUID", "MediaStorageSOPClassUID"),
        sop_instance_uid=_from_file_header(dataset, "SOPInstanceUID", "MediaStorageSOPInstanceUID"),
        marks=_marks(dataset, frame),
    )


def _marks(dataset: Dataset, frame: int) -> tuple[str, ...]:
    kernel, *others = _MARKS
    reconstruction = frame_group(dataset, frame, "CTReconstructionSequence")
    return text(reconstruction, kernel), *(text(dataset, keyword) for keyword in others)


def _series(dataset: Dataset, slices: tuple[SliceHeader, ...]) -> Series:
    return Series(
        study_uid=_uid(dataset, "StudyInstanceUID"),
        series_uid=_uid(dataset, "SeriesInstanceUID"),
        modality=text(dataset, "Modality"),
        slices=slices,
        series_number=integer(dataset, "SeriesNumber"),
        frame_of_reference_uid=_uid(dataset, "FrameOfReferenceUID"),
        manufacturer=text(dataset, "Manufacturer"),
        kernel=text(frame_group(dataset, 0, "CTReconstructionSequence"), "ConvolutionKernel"),
        slice_thickness_mm=number(frame_group(dataset, 0, "PixelMeasuresSequence"), "SliceThickness"),
        body_part=text(dataset, "BodyPartExamined") or _anatomic_region(dataset),
        age_years=age_years(dataset),
        study_date=study_date(dataset),
        is_expiration=is_expiration(dataset),
        says_chest=says_chest(dataset),
        is_animal=is_animal(dataset),
    )


def _anatomic_region(dataset: Dataset) -> str:
    regions = items_of(frame_group(dataset, 0, "FrameAnatomySequence"), "AnatomicRegionSequence")
    return text(regions[0], "CodeMeaning") if regions else ""
