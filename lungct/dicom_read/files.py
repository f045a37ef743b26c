"""The files of an input folder, and DICOM data sets with and without their file header."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lungct.dicom_read.headers import Header, as_dataset
from lungct.dicom_read.plain import read_plain

_FIRST_GROUP = b"\x08\x00"
"""How a data set without file header begins: group 0008, little endian."""


def walk(root: Path, leave_out: Callable[[Path, str, str], None]) -> Iterator[Path]:
    """All files below ``root``, or ``root`` itself, in a fixed order.

    Args:
        root: folder or file.
        leave_out: told path, code and reason of every folder that is not entered.
    """
    if not root.is_dir():
        yield root
        return

    def report(error: OSError) -> None:
        leave_out(Path(error.filename), "UNREADABLE_FOLDER", f"cannot be read: {error.strerror}")

    for place, folders, names in os.walk(root, onerror=report):
        folders.sort()
        for name in folders:
            if (Path(place) / name).is_symlink():
                leave_out(Path(place) / name, "LINKED_FOLDER", "is a link to a folder, which is not followed")
        yield from (Path(place) / name for name in sorted(names))


def read_file(path: Path, *, with_pixels: bool) -> Header:
    """Read a DICOM file; a data set that was stored without its file header (PS3.10 7.1) is read too.

    Raises:
        InvalidDicomError: it is not DICOM.
        OSError: it cannot be read.
    """
    return read_plain(path, with_pixels=with_pixels) or _read_by_pydicom(path, with_pixels=with_pixels)


def read_dataset(path: Path, *, with_pixels: bool) -> Dataset:
    """The same as a data set of pydicom."""
    return as_dataset(read_file(path, with_pixels=with_pixels))


def _read_by_pydicom(path: Path, *, with_pixels: bool) -> Dataset:
    try:
        return dcmread(path, stop_before_pixels=not with_pixels)
    except InvalidDicomError:
        with path.open("rb") as file:
            if file.read(2) != _FIRST_GROUP:
                raise
    dataset = dcmread(path, stop_before_pixels=not with_pixels, force=True)
    if "SOPClassUID" not in dataset:
        raise InvalidDicomError
    is_implicit, _ = dataset.original_encoding
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
    return dataset
