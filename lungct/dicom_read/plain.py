"""Files in plain Explicit VR Little Endian (PS3.5 7.1.2), read several times as fast as pydicom reads them.

pydicom stays the judge: whatever is not plain to the last element is left to it, and what is read here equals
what it reads.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import cast

from pydicom import dcmread
from pydicom.charset import default_encoding, python_encoding
from pydicom.dataelem import DataElement, RawDataElement, empty_value_for_VR
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import AllTransferSyntaxes
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32, STANDARD_VR

_HEAD_BYTES, _FILE_BYTES = 1 << 16, 1 << 24
"""What is read of a file without and with its pixels; pydicom reads what is larger, with one copy less."""

_PREAMBLE, _PREFIX = slice(0, 128), slice(128, 132)
_META, _AFTER_META = 0x00020000, 0x00030000
_DATA_SET, _PIXELS, _NO_TAG = 0x00080000, 0x7FE00008, 1 << 32
"""The lowest tags of file meta information, data set and pixels, and what is above all tags."""
_PIXEL_TAGS = (_PIXELS, 0x7FE00009, 0x7FE00010)
_UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEM, _END_OF_SEQUENCE = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_END_OF_ITEM = b"\xfe\xff\x0d\xe0" + bytes(4)

_SYNTAXES = {
    syntax.encode()
    for syntax in AllTransferSyntaxes
    if syntax.is_little_endian and not syntax.is_implicit_VR and not syntax.is_deflated
}
_SHORT = {vr.encode(): vr.value for vr in EXPLICIT_VR_LENGTH_16}
_LONG = {vr.encode(): vr.value for vr in EXPLICIT_VR_LENGTH_32}
_EMPTY = {vr.value: cast(bytes | None, empty_value_for_VR(vr, raw=True)) for vr in STANDARD_VR}
"""Value representations whose length takes two bytes, four bytes, and what stands for a length of none."""
_start_of_element = struct.Struct("<HH2sH").unpack_from
_long_length = struct.Struct("<L").unpack_from

_ENCODINGS = {name.encode(): [codec] for name, codec in python_encoding.items() if "2022" not in name}
"""Of text in one character set; what mixes several is left to pydicom."""

one_tag = lru_cache(4096)(BaseTag)
"""The same object for the same tag: looking up an equal one calls Python."""

_META_LENGTH, _TRANSFER_SYNTAX, _CHARACTER_SET = map(one_tag, (0x00020000, 0x00020010, 0x00080005))
_BYTES_OF_UL = 4

_Elements = dict[BaseTag, DataElement | RawDataElement]


class _NotPlainError(Exception):
    """Something that pydicom is left to judge."""


@dataclass(frozen=True, eq=False)
class PlainFile:
    """Elements of a plain file by tag, as raw as pydicom leaves them.

    Attributes:
        path: of the file.
        preamble: its first bytes.
        meta: file meta information.
        elements: the data set, without what sequences of undefined length hold.
        encoding: of its text, by pydicom's names.
    """

    path: Path
    preamble: bytes
    meta: _Elements
    elements: _Elements
    encoding: str | list[str]

    @property
    def is_complete(self) -> bool:
        """Whether no sequence was passed over."""
        return not any(_is_open(element) for element in self.elements.values())

    @cached_property
    def dataset(self) -> FileDataset:
        """What ``pydicom.dcmread`` gives; it reads the file again where sequences were passed over."""
        if not self.is_complete:
            return dcmread(self.path, stop_before_pixels=self.elements.keys().isdisjoint(_PIXEL_TAGS))
        dataset = FileDataset(self.path, dict(self.elements), self.preamble, self.file_meta, False, True)
        dataset.set_original_encoding(False, True, self.encoding)
        return dataset

    @cached_property
    def file_meta(self) -> FileMetaDataset:
        """As pydicom has it."""
        return FileMetaDataset(dict(self.meta))


def read_plain(path: Path, *, with_pixels: bool) -> PlainFile | None:
    """A file with or without its pixels.

    Returns:
        None where the file is not plain: no file header, another encoding, undefined lengths of anything but
        sequences, elements that are unknown, out of order or cut off; and where it is too large.

    Raises:
        OSError: it cannot be read.
    """
    n_bytes, beyond = (_FILE_BYTES, _NO_TAG) if with_pixels else (_HEAD_BYTES, _PIXELS)
    with path.open("rb", buffering=0) as file:
        content = file.read(min(n_bytes, os.fstat(file.fileno()).st_size))
    try:
        meta, elements = _parts(content, beyond, is_whole=len(content) < n_bytes)
        return PlainFile(path, content[_PREAMBLE], meta, elements, _encoding(elements))
    except (_NotPlainError, struct.error, RecursionError):
        return None


def _parts(content: bytes, beyond: int, *, is_whole: bool) -> tuple[_Elements, _Elements]:
    """File meta information, and the data set up to the tag ``beyond``."""
    if content[_PREFIX] != b"DICM":
        raise _NotPlainError
    meta, begin, _ = _elements(content, _PREFIX.stop, _META, _AFTER_META)
    is_sound = len(_bytes_of(meta, _META_LENGTH, "UL")) == _BYTES_OF_UL
    if not is_sound or _bytes_of(meta, _TRANSFER_SYNTAX, "UI").rstrip(b"\0") not in _SYNTAXES:
        raise _NotPlainError
    elements, _, next_tag = _elements(content, begin, _DATA_SET, beyond)
    ends = next_tag in _PIXEL_TAGS or (is_whole and next_tag == _NO_TAG)
    if not (elements and ends):
        raise _NotPlainError
    return meta, elements


def _elements(content: bytes, at: int, lowest: int, beyond: int) -> tuple[_Elements, int, int]:
    """Elements with tags from ``lowest`` to below ``beyond``, where the next one begins, and its tag."""
    elements: _Elements = {}
    while at < len(content):
        tag_number, vr, length, begin = _start(content, at)
        if tag_number >= beyond:
            return elements, at, tag_number
        at = _after_value(content, begin, vr, length)
        if tag_number < lowest or at > len(content):
            raise _NotPlainError
        tag, lowest = one_tag(tag_number), tag_number + 1
        value = content[begin:at] if 0 < length < _UNDEFINED_LENGTH else _EMPTY[vr]
        elements[tag] = RawDataElement(tag, vr, length, value, begin, False, True)
    return elements, at, _NO_TAG


def _start(content: bytes, at: int) -> tuple[int, str, int, int]:
    """Tag, value representation and length of an element, and where its value begins."""
    group, number, vr_bytes, length = _start_of_element(content, at)
    vr = _SHORT.get(vr_bytes)
    if vr is not None:
        return group << 16 | number, vr, length, at + 8
    vr = _LONG.get(vr_bytes, "")
    return group << 16 | number, vr, _long_length(content, at + 8)[0], at + 12


def _after_value(content: bytes, at: int, vr: str, length: int) -> int:
    """Where the next element begins."""
    if not vr or (length == _UNDEFINED_LENGTH and vr != "SQ"):
        raise _NotPlainError
    return at + length if length < _UNDEFINED_LENGTH else _after_items(content, at)


def _after_items(content: bytes, at: int) -> int:
    """Where a sequence of undefined length that begins here has ended (PS3.5 7.5)."""
    while True:
        tag_bytes, (length,) = content[at : at + 4], _long_length(content, at + 4)
        at += 8
        if tag_bytes == _END_OF_SEQUENCE and not length:
            return at
        if tag_bytes != _ITEM:
            raise _NotPlainError
        at = _after_item(content, at, length)


def _after_item(content: bytes, at: int, length: int) -> int:
    """Where an item whose elements begin here has ended, by its length or by a delimiter."""
    end = at + length
    while at < end:
        if length == _UNDEFINED_LENGTH and content[at : at + 8] == _END_OF_ITEM:
            return at + 8
        _, vr, n_bytes, begin = _start(content, at)
        at = _after_value(content, begin, vr, n_bytes)
    if at > end:
        raise _NotPlainError
    return at


def _is_open(element: DataElement | RawDataElement) -> bool:
    return isinstance(element, RawDataElement) and element.length == _UNDEFINED_LENGTH


def _encoding(elements: _Elements) -> str | list[str]:
    """Of text, by pydicom's names."""
    if _CHARACTER_SET not in elements:
        return default_encoding
    encoding = _ENCODINGS.get(_bytes_of(elements, _CHARACTER_SET, "CS").rstrip(b" "))
    if encoding is None:
        raise _NotPlainError
    return encoding


def _bytes_of(elements: _Elements, tag: BaseTag, vr: str) -> bytes:
    element = elements.get(tag)
    if element is None or vr != element.VR:
        raise _NotPlainError
    return cast(bytes, element.value or b"")
