"""Read the files of an input folder as DICOM data sets, with and without their file header."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from io import BufferedReader, BytesIO, FileIO
from math import prod
from pathlib import Path
from zlib import MAX_WBITS, decompressobj

from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset as read_elements
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lungct.dicom_read.headers import integer, keep_values_out_of_warnings

_FIRST_GROUP = b"\x08\x00"
"""How a data set without file header begins: group 0008, little endian."""

_PIXEL_GROUP = 0x7FE0
_META_GROUP = 0x0002
_PREAMBLE_BYTES = 128
_PREFIX = b"DICM"
_HEADER_BYTES = 4 << 20
"""Own decision: no header of a CT image is larger; what is inflated of a file to read its header."""
_MOST_INFLATION = 32
"""Own decision: no CT image deflates to less than this share of its size; noise alone keeps it from that."""
_SLACK_BYTES = 1 << 20

_KINDS = {
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


class DeflatedTooLargeError(ValueError):
    """Deflated data that inflates to more than its header can hold."""


def walk(root: Path, leave_out: Callable[[Path, str, str], None]) -> Iterator[Path]:
    """Find all files below ``root``, or ``root`` itself, in a fixed order.

    Links are not followed, and what is no file, such as a pipe, is not opened.

    Args:
        root: folder or file.
        leave_out: told path, code and reason of everything that is passed over.
    """
    if not root.is_dir():
        if (what := _kind(root.stat().st_mode)) is None:
            yield root
        else:
            leave_out(root, "NOT_A_FILE", f"is {what}, not a file")
        return

    def report(error: OSError) -> None:
        leave_out(Path(error.filename), "UNREADABLE_FOLDER", f"cannot be read: {error.strerror}")

    for place, folders, names in os.walk(root, onerror=report):
        folders.sort()
        for path in (Path(place) / name for name in folders):
            if path.is_symlink():
                leave_out(path, "LINKED_FOLDER", "is a link to a folder, which is not followed")
        for path in (Path(place) / name for name in sorted(names)):
            mode = _mode(path)
            if stat.S_ISLNK(mode):
                leave_out(path, "LINKED_FILE", "is a link, which is not followed")
            elif what := _kind(mode):
                leave_out(path, "NOT_A_FILE", f"is {what}, not a file")
            else:
                yield path


def read_dataset(path: Path, *, with_pixels: bool) -> Dataset:
    """Read a DICOM file; a data set that was stored without its file header (PS3.10 7.1) is read too.

    Raises:
        InvalidDicomError: it is not DICOM.
        DeflatedTooLargeError: it inflates to more than its header can hold.
        OSError: it cannot be read.
    """
    keep_values_out_of_warnings()
    with BufferedReader(_NotReadWhole(path)) as file:
        try:
            return dcmread(file, stop_before_pixels=not with_pixels)
        except _DeflatedError:
            return _inflate(path, file, with_pixels=with_pixels)
        except InvalidDicomError:
            file.seek(0)
            if file.read(2) != _FIRST_GROUP:
                raise
        file.seek(0)
        dataset = dcmread(file, stop_before_pixels=not with_pixels, force=True)
    if "SOPClassUID" not in dataset:
        raise InvalidDicomError
    is_implicit, _ = dataset.original_encoding
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
    return dataset


class _DeflatedError(Exception):
    """The data set is deflated."""


class _NotReadWhole(FileIO):
    """A file that pydicom cannot inflate: it asks for all the rest of a file to do so, and only then."""

    def readall(self) -> bytes:
        raise _DeflatedError


def _inflate(path: Path, file: BufferedReader[_NotReadWhole], *, with_pixels: bool) -> FileDataset:
    """Read a deflated file."""
    file.seek(0)
    preamble = file.read(_PREAMBLE_BYTES)
    file.seek(len(_PREFIX), os.SEEK_CUR)
    meta = FileMetaDataset(read_elements(file, False, True, stop_when=_is_data_set))
    begin = file.tell()
    deflated = file.read(os.fstat(file.fileno()).st_size - begin)
    dataset = _elements(decompressobj(-MAX_WBITS).decompress(deflated, _HEADER_BYTES), with_pixels=False)
    if with_pixels:
        frame_keywords = ("NumberOfFrames", "Rows", "Columns", "SamplesPerPixel")
        bits = prod(integer(dataset, keyword) or 1 for keyword in (*frame_keywords, "BitsAllocated"))
        limit = min(_MOST_INFLATION * len(deflated), bits // 8) + _HEADER_BYTES + _SLACK_BYTES
        inflated = decompressobj(-MAX_WBITS).decompress(deflated, limit)
        if len(inflated) == limit:
            raise DeflatedTooLargeError
        dataset = _elements(inflated, with_pixels=True)
    whole = FileDataset(path, dataset, preamble, meta, is_implicit_VR=False, is_little_endian=True)
    whole.set_original_encoding(False, True, dataset.original_character_set)
    return whole


def _is_data_set(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group > _META_GROUP


def _elements(inflated: bytes, *, with_pixels: bool) -> Dataset:
    stop = None if with_pixels else lambda tag, _vr, _length: tag.group == _PIXEL_GROUP
    return read_elements(BytesIO(inflated), is_implicit_VR=False, is_little_endian=True, stop_when=stop)


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except OSError:
        return stat.S_IFREG  # opening it tells what is wrong


def _kind(mode: int) -> str | None:
    return next((what for is_kind, what in _KINDS.items() if is_kind(mode)), None)
