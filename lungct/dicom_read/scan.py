"""Header-only walk over an input folder: the DICOM series it holds, and what was left out and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    MediaStorageDirectoryStorage,
    SegmentationStorage,
    SurfaceSegmentationStorage,
)

from lungct.dicom_read.headers import (
    DAMAGED,
    age_years,
    frame_group,
    integer,
    number,
    numbers,
    readable_name,
    text,
    value_of,
)
from lungct.dicom_read.privacy import NameMask, identifiers
from lungct.errors import NoDicomError
from lungct.records import PatientStudy, Reason, Scan, Series, SkippedFile, SliceHeader

_LABEL_MAP_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
_SEGMENTATIONS = (SegmentationStorage, SurfaceSegmentationStorage, _LABEL_MAP_SEGMENTATION_STORAGE)
_CONTRAST_AGENTS = ("ContrastBolusAgent", "ContrastBolusAgentSequence")
_IDENTIFIERS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


class _UnusableFileError(Exception):
    """The file is part of no series."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.reason = Reason(code, message)


def scan_folder(root: Path) -> Scan:
    """Find every image series below a folder without reading pixels.

    Args:
        root: folder, nested as it may be, or a single DICOM file.

    Returns:
        Series sorted by study and series UID, their images by Instance Number, and every other file with
        the reason why it was left out. Names are relative to ``root``, without what names a patient.

    Raises:
        NoDicomError: ``root`` does not exist.
    """
    if not root.exists():
        raise NoDicomError(f"{root.name} does not exist; name a folder with DICOM files")
    found: dict[tuple[str, str], tuple[Dataset, list[SliceHeader]]] = {}
    skipped: list[SkippedFile] = []
    identifying: set[str] = set()
    for path in _files(root):
        name = path.relative_to(root).as_posix() if path != root else path.name
        try:
            dataset = _read_header(path)
            headers = _slice_headers(dataset, path, name)
        except _UnusableFileError as error:
            skipped.append(SkippedFile(name, error.reason))
            continue
        uids = text(dataset, "StudyInstanceUID"), text(dataset, "SeriesInstanceUID")
        found.setdefault(uids, (dataset, []))[1].extend(headers)
        identifying |= identifiers(dataset)
    mask = NameMask(identifying)
    return Scan(
        root=root,
        series=tuple(_series(*found[uids], mask) for uids in sorted(found)),
        skipped=tuple(replace(file, name=mask(file.name)) for file in skipped),
    )


def read_patient_study(series: Series) -> PatientStudy:
    """Identifying attributes of the patient and study, decoded from their character set, for the report."""
    dataset = dcmread(series.slices[0].path, stop_before_pixels=True)
    return PatientStudy(
        patient_name=readable_name(dataset),
        patient_id=text(dataset, "PatientID"),
        birth_date=text(dataset, "PatientBirthDate"),
        sex=text(dataset, "PatientSex"),
        institution=text(dataset, "InstitutionName"),
        accession_number=text(dataset, "AccessionNumber"),
        study_description=text(dataset, "StudyDescription"),
        study_date=text(dataset, "StudyDate"),
    )


def _files(root: Path) -> list[Path]:
    """All files below ``root``, or ``root`` itself, in a fixed order."""
    return [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())


def _read_header(path: Path) -> Dataset:
    """Header of a DICOM image with all identifiers, else ``_UnusableFileError``."""
    try:
        if path.stat().st_size == 0:
            raise _UnusableFileError("EMPTY_FILE", "has no content")
        dataset = dcmread(path, stop_before_pixels=True)
        sop_class = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
        if sop_class == MediaStorageDirectoryStorage:
            raise _UnusableFileError("DICOMDIR", "is a directory of other files")
        if sop_class in _SEGMENTATIONS or not integer(dataset, "Rows") or not integer(dataset, "Columns"):
            kind = getattr(sop_class, "name", "object without SOP class")
            raise _UnusableFileError("NOT_AN_IMAGE", f"is not an image but {kind}")
        if missing := [keyword for keyword in _IDENTIFIERS if not text(dataset, keyword)]:
            raise _UnusableFileError("INCOMPLETE_HEADER", f"lacks {', '.join(missing)}")
    except InvalidDicomError:
        raise _UnusableFileError("NOT_DICOM", "is not a DICOM file") from None
    except OSError as error:
        raise _UnusableFileError("UNREADABLE_FILE", f"cannot be read: {error.strerror}") from error
    except DAMAGED as error:
        raise _UnusableFileError("DAMAGED_HEADER", "has a damaged DICOM header") from error
    return dataset


def _slice_headers(dataset: Dataset, path: Path, name: str) -> list[SliceHeader]:
    """One header for every frame whose place is known; one for any other image."""
    try:
        frames = len(dataset.get("PerFrameFunctionalGroupsSequence") or [None])
        return [
            _slice_header(dataset, path, f"{name} frame {frame + 1}" if frames > 1 else name, frame)
            for frame in range(frames)
        ]
    except DAMAGED as error:
        raise _UnusableFileError("DAMAGED_HEADER", "has a damaged DICOM header") from error


def _slice_header(dataset: Dataset, path: Path, name: str, frame: int) -> SliceHeader:
    """Header of one image or frame."""
    place = frame_group(dataset, frame, "PlanePositionSequence")
    plane = frame_group(dataset, frame, "PlaneOrientationSequence")
    measures = frame_group(dataset, frame, "PixelMeasuresSequence")
    frame_type = text(frame_group(dataset, frame, "CTImageFrameTypeSequence"), "FrameType")
    return SliceHeader(
        path=path,
        sop_class_uid=text(dataset, "SOPClassUID"),
        sop_instance_uid=text(dataset, "SOPInstanceUID"),
        instance_number=integer(dataset, "InstanceNumber"),
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        position_mm=numbers(place, "ImagePositionPatient", 3),  # type: ignore[arg-type]
        orientation=numbers(plane, "ImageOrientationPatient", 6),  # type: ignore[arg-type]
        pixel_spacing_mm=numbers(measures, "PixelSpacing", 2),  # type: ignore[arg-type]
        image_type=tuple((frame_type or text(dataset, "ImageType")).upper().split("\\")),
        n_frames=integer(dataset, "NumberOfFrames") or 1,
        frame=frame,
        name=name,
    )


def _series(dataset: Dataset, slices: list[SliceHeader], mask: NameMask) -> Series:
    """A series from the header of one of its images and all its slices."""
    ordered = sorted(slices, key=lambda image: (image.instance_number or 0, image.frame, image.name))
    anatomy = frame_group(dataset, 0, "FrameAnatomySequence")
    region = (value_of(anatomy, "AnatomicRegionSequence") or [Dataset()])[0]
    agents = [value_of(dataset, keyword) for keyword in _CONTRAST_AGENTS if keyword in dataset]
    return Series(
        study_uid=text(dataset, "StudyInstanceUID"),
        series_uid=text(dataset, "SeriesInstanceUID"),
        modality=text(dataset, "Modality"),
        slices=tuple(replace(image, name=mask(image.name)) for image in ordered),
        series_number=integer(dataset, "SeriesNumber"),
        manufacturer=text(dataset, "Manufacturer"),
        manufacturer_model=text(dataset, "ManufacturerModelName"),
        kernel=text(frame_group(dataset, 0, "CTReconstructionSequence"), "ConvolutionKernel"),
        slice_thickness_mm=number(frame_group(dataset, 0, "PixelMeasuresSequence"), "SliceThickness"),
        body_part=text(dataset, "BodyPartExamined") or text(region, "CodeMeaning"),
        age_years=age_years(dataset),
        contrast_agent=any(agents) if agents else None,
        description=text(dataset, "SeriesDescription"),
    )
