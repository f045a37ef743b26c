"""Header-only walk over an input folder: the DICOM series it holds, and what was left out and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from lungct.dicom_read.character_set import find_misfits
from lungct.dicom_read.files import read_dataset, walk
from lungct.dicom_read.headers import (
    DAMAGED,
    keep_values_out_of_warnings,
    legible,
    readable_name,
    text,
)
from lungct.dicom_read.image_headers import FoundImages, UnusableFileError
from lungct.dicom_read.own_uids import with_valid_uids
from lungct.dicom_read.privacy import (
    NameMask,
    parts_of_names,
    printable,
)
from lungct.dicom_read.stacks import split_stacks
from lungct.errors import NoDicomError
from lungct.records import PatientStudy, QualityFlag, Reason, Scan, Series, SkippedFile, SliceHeader

LEAST_STACK = 5
"""Own decision: fewer images that do not belong to the stack of their series are overviews or localizers."""

_WHY_ODD = "do not belong to the stack of their series"


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
    found = FoundImages()
    skipped: list[SkippedFile] = []

    def shown(path: Path) -> str:
        return printable(path.relative_to(root).as_posix() if path != root else path.name)

    def leave_out(path: Path, code: str, message: str) -> None:
        skipped.append(SkippedFile(shown(path), Reason(code, message)))

    for path in walk(root, leave_out):
        try:
            found.add(_read_header(path), path, shown(path))
        except UnusableFileError as error:
            leave_out(path, error.reason.code, error.reason.message)
    mask = NameMask(set().union(*map(parts_of_names, found.identifying)))
    return Scan(
        root=root,
        series=_all_series(found.parts, mask, skipped),
        skipped=tuple(replace(file, name=mask(file.name)) for file in skipped),
    )


def scan_headers(headers: Iterable[Dataset]) -> Scan:
    """Find every image series among headers without files, such as the metadata that DICOMweb gives.

    Args:
        headers: one data set an instance, without pixels. Images are called by their number in this order.
    """
    keep_values_out_of_warnings()
    found = FoundImages()
    skipped: list[SkippedFile] = []
    for position, header in enumerate(headers, start=1):
        name = f"image {position}"
        try:
            found.add(header, Path(), name)
        except UnusableFileError as error:
            skipped.append(SkippedFile(name, error.reason))
    series = _all_series(found.parts, NameMask(set()), skipped)
    return Scan(Path(), series, tuple(skipped))


def read_patient_study(series: Series) -> PatientStudy:
    """Read what names patient and study, decoded from its character set, for the report."""
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


def _exists(root: Path) -> bool:
    try:
        return root.exists()
    except OSError:
        return False


def _read_header(path: Path) -> Dataset:
    try:
        if path.stat().st_size == 0:
            raise UnusableFileError("EMPTY_FILE", "has no content")
        return read_dataset(path, with_pixels=False)
    except InvalidDicomError:
        raise UnusableFileError("NOT_DICOM", "is not a DICOM file") from None
    except OSError as error:
        raise UnusableFileError("UNREADABLE_FILE", f"cannot be read: {error.strerror}") from error
    except DAMAGED as error:
        raise UnusableFileError("DAMAGED_HEADER", "has a damaged DICOM header") from error


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
