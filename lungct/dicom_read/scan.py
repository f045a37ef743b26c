"""Header-only walk over an input folder: the DICOM series it holds, and what was left out and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    UID,
    MediaStorageDirectoryStorage,
    SegmentationStorage,
    SurfaceSegmentationStorage,
)

from lungct.dicom_read.character_set import find_misfits
from lungct.dicom_read.descriptions import is_animal, says_chest
from lungct.dicom_read.files import read_dataset, walk
from lungct.dicom_read.headers import (
    DAMAGED,
    SharedValues,
    age_years,
    frame_group,
    integer,
    is_expiration,
    items_of,
    legible,
    number,
    numbers,
    readable_name,
    study_date,
    text,
)
from lungct.dicom_read.own_uids import with_valid_uids
from lungct.dicom_read.privacy import (
    IDENTIFYING,
    NameMask,
    identifying_texts,
    parts_of_names,
    printable,
)
from lungct.dicom_read.stacks import split_stacks
from lungct.errors import NoDicomError
from lungct.records import PatientStudy, QualityFlag, Reason, Scan, Series, SkippedFile, SliceHeader

_LABEL_MAP_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
_SEGMENTATIONS = (SegmentationStorage, SurfaceSegmentationStorage, _LABEL_MAP_SEGMENTATION_STORAGE)
_OFTEN_EQUAL = (
    "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality", "ImageType",
    "LossyImageCompression", "AcquisitionNumber", "Rows", "Columns", "ImageOrientationPatient",
    "PixelSpacing", "SeriesNumber", "Manufacturer", "ConvolutionKernel", "SliceThickness", "BodyPartExamined",
    "PatientAge",
    "StudyDate", "SeriesDescription", "StudyDescription", "ProtocolName", "SeriesTime", "ContrastBolusAgent",
    "ScanOptions", *IDENTIFYING,
)  # fmt: skip
"""Attributes that most images of a study share."""
LEAST_STACK = 5
"""Own decision: fewer images that do not belong to the stack of their series are overviews or localizers."""

_WHY_ODD = "do not belong to the stack of their series"
_MARKS = (
    "ConvolutionKernel", "ContrastBolusAgent", "NominalPercentageOfCardiacPhase",
    "TemporalPositionIdentifier", "TemporalPositionIndex", "SeriesTime", "AcquisitionDateTime",
    "AcquisitionTime", "ScanOptions", "StackID",
)  # fmt: skip
"""What differs between passes of a scanner that share a Series Instance UID."""


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
        the reason why it was left out. Names are relative to ``root``, without what names a patient. Images
        of different patients are never one series, whatever their UIDs say.

    Raises:
        NoDicomError: ``root`` does not exist.
    """
    if not _exists(root):
        raise NoDicomError("the input folder does not exist or is locked; name a folder with DICOM files")
    found: dict[tuple[str, str, str], list[Series]] = {}
    skipped: list[SkippedFile] = []
    identifying: set[tuple[str, ...]] = set()
    shared = SharedValues(_OFTEN_EQUAL)

    def shown(path: Path) -> str:
        return printable(path.relative_to(root).as_posix() if path != root else path.name)

    def leave_out(path: Path, code: str, message: str) -> None:
        skipped.append(SkippedFile(shown(path), Reason(code, message)))

    for path in walk(root, leave_out):
        try:
            dataset = _read_header(path)
            shared.share_with(dataset)
            identifying.add(identifying_texts(dataset))
            part = _series_of_file(dataset, path, shown(path))
        except _UnusableFileError as error:
            leave_out(path, error.reason.code, error.reason.message)
            continue
        _add(found, dataset, part)
    mask = NameMask(set().union(*map(parts_of_names, identifying)))
    return Scan(
        root=root,
        series=_all_series(found, mask, skipped),
        skipped=tuple(replace(file, name=mask(file.name)) for file in skipped),
    )


def scan_headers(headers: Iterable[Dataset]) -> Scan:
    """The same for headers that an archive gives without their files, such as DICOMweb metadata.

    Args:
        headers: one data set an instance, without pixels. Images are called by their number in this order.
    """
    found: dict[tuple[str, str, str], list[Series]] = {}
    skipped: list[SkippedFile] = []
    for position, header in enumerate(headers, start=1):
        name = f"image {position}"
        try:
            _add(found, header, _series_of_file(header, Path(), name))
        except _UnusableFileError as error:
            skipped.append(SkippedFile(name, error.reason))
    series = _all_series(found, NameMask(set()), skipped)
    return Scan(Path(), series, tuple(skipped))


def read_patient_study(series: Series) -> PatientStudy:
    """Identifying attributes of the patient and study, decoded from their character set, for the report."""
    stored = read_dataset(series.slices[0].path, with_pixels=False)
    dataset = deepcopy(stored)  # elements are decoded in place, and results keep the bytes
    return PatientStudy(
        patient_name=legible(readable_name(dataset)),
        patient_id=legible(text(dataset, "PatientID")),
        institution=legible(text(dataset, "InstitutionName")),
        study_description=legible(text(dataset, "StudyDescription")),
        study_date=legible(text(dataset, "StudyDate")),
        header=stored,
        misfits=find_misfits(stored, ("PatientName", "InstitutionName", "StudyDescription")),
    )


def _add(found: dict[tuple[str, str, str], list[Series]], dataset: Dataset, part: Series) -> None:
    key = part.study_uid, part.series_uid, text(dataset, "PatientID")
    found.setdefault(key, []).append(part)


def _exists(root: Path) -> bool:
    try:
        return root.exists()
    except OSError:
        return False


def _read_header(path: Path) -> Dataset:
    try:
        if path.stat().st_size == 0:
            raise _UnusableFileError("EMPTY_FILE", "has no content")
        return read_dataset(path, with_pixels=False)
    except InvalidDicomError:
        raise _UnusableFileError("NOT_DICOM", "is not a DICOM file") from None
    except OSError as error:
        raise _UnusableFileError("UNREADABLE_FILE", f"cannot be read: {error.strerror}") from error
    except DAMAGED as error:
        raise _UnusableFileError("DAMAGED_HEADER", "has a damaged DICOM header") from error


def _series_of_file(dataset: Dataset, path: Path, name: str) -> Series:
    """Return the part of a series that one file holds."""
    _require_image(dataset)
    frames = len(items_of(dataset, "PerFrameFunctionalGroupsSequence")) or 1
    slices = tuple(
        _slice_header(dataset, path, f"{name} frame {frame + 1}" if frames > 1 else name, frame)
        for frame in range(frames)
    )
    return _series(dataset, slices)


def _require_image(dataset: Dataset) -> None:
    sop_class = _from_file_header(dataset, "SOPClassUID", "MediaStorageSOPClassUID")
    if sop_class == MediaStorageDirectoryStorage:
        raise _UnusableFileError("DICOMDIR", "is a directory of other files")
    if sop_class in _SEGMENTATIONS or not integer(dataset, "Rows") or not integer(dataset, "Columns"):
        kind = UID(sop_class).name if sop_class else "object without SOP class"
        raise _UnusableFileError("NOT_AN_IMAGE", f"is not an image but {kind}")
    if not sop_class:
        raise _UnusableFileError("INCOMPLETE_HEADER", "lacks SOPClassUID")


def _from_file_header(dataset: Dataset, keyword: str, meta_keyword: str) -> str:
    """Return a UID of the data set, or where it has none, that of the file header."""
    return _uid(dataset, keyword) or _uid(getattr(dataset, "file_meta", Dataset()), meta_keyword)


def _uid(dataset: Dataset, keyword: str) -> str:
    """One UID; empty where there is none, or several."""
    value = text(dataset, keyword)
    return "" if "\\" in value else value


def _slice_header(dataset: Dataset, path: Path, name: str, frame: int) -> SliceHeader:
    """Header of one image or frame."""
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


def _all_series(
    found: dict[tuple[str, str, str], list[Series]], mask: NameMask, skipped: list[SkippedFile]
) -> tuple[Series, ...]:
    """Return the series in order of their UIDs, with their patients numbered; odd images are skipped."""
    numbers = {patient: number for number, patient in enumerate(sorted({key[2] for key in found}))}
    return tuple(
        replace(one, patient=numbers[key[2]])
        for key in sorted(found)
        for one in _whole_series(found[key], mask, skipped)
    )


def _whole_series(parts: list[Series], mask: NameMask, skipped: list[SkippedFile]) -> Iterator[Series]:
    """Put the files of a series together, as one series a stack; odd images among them are skipped."""
    part_of = {(image.path, image.frame, image.name): part for part in parts for image in part.slices}
    images = sorted(
        (image for part in parts for image in part.slices),
        key=lambda image: (image.instance_number or 0, image.frame, image.name),
    )
    stacks = split_stacks(images)
    n_kept = max(1, sum(len(stack) >= LEAST_STACK for stack in stacks))
    odd = [image for stack in stacks[n_kept:] for image in stack]
    skipped += [SkippedFile(image.name, Reason("ODD_IMAGE", _WHY_ODD)) for image in odd]
    flags = tuple(_split_flags(stacks[:n_kept], [mask(image.name) for image in odd]))
    for stack in stacks[:n_kept]:
        own_parts = {
            id(part): part for image in stack for part in [part_of[image.path, image.frame, image.name]]
        }
        yield with_valid_uids(_one_stack(list(own_parts.values()), stack, flags, mask))


def _split_flags(stacks: list[list[SliceHeader]], odd_names: list[str]) -> Iterator[QualityFlag]:
    if odd_names:
        message = f"{len(odd_names)} images that {_WHY_ODD} were left out, first {odd_names[0]}"
        yield QualityFlag("ODD_IMAGES_LEFT_OUT", message)
    if len(stacks) > 1:
        counts = ", ".join(str(len(stack)) for stack in stacks)
        message = f"the series holds {len(stacks)} stacks (of {counts} images); each was judged by itself"
        yield QualityFlag("SERIES_SPLIT", message)


def _one_stack(
    parts: list[Series], stack: list[SliceHeader], flags: tuple[QualityFlag, ...], mask: NameMask
) -> Series:
    """Return the series of one stack; of several slice thicknesses the largest counts."""
    thicknesses_mm = [part.slice_thickness_mm for part in parts if part.slice_thickness_mm is not None]
    frames_of_reference = {part.frame_of_reference_uid for part in parts}
    return replace(
        parts[0],
        frame_of_reference_uid=frames_of_reference.pop() if len(frames_of_reference) == 1 else "",
        slices=tuple(_masked(image, mask) for image in stack),
        slice_thickness_mm=max(thicknesses_mm, default=None),
        is_animal=any(part.is_animal for part in parts),
        flags=flags,
    )


def _masked(image: SliceHeader, mask: NameMask) -> SliceHeader:
    name = mask(image.name)
    return image if name == image.name else replace(image, name=name)
