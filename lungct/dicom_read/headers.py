"""DICOM attributes as plain Python values; missing or malformed ones are None or empty.

The same calls serve single-frame images and multi-frame ones, whose attributes stand in functional
groups (PS3.3 C.7.6.16.1.1).
"""

from __future__ import annotations

import math
import struct
import zlib
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from unicodedata import category

from pydicom import Dataset
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import PersonName

from lungct.dicom_read.plain import PlainFile, one_tag

DAMAGED = (
    OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError,
    OverflowError, RecursionError, struct.error, zlib.error, BytesLengthException,
)  # fmt: skip
"""What pydicom raises on bytes that are no valid data set, often only when an element is looked at."""

Header = Dataset | PlainFile
"""What attributes are looked up in."""

_BYTES = {"OB", "OW"}
_OFTEN_EQUAL = {"AS", "CS", "DA", "DS", "IS", "LO", "PN", "SH", "UI", "US"}

_DAYS_PER_YEAR = 365.25
_AGE_UNITS_PER_YEAR = {"D": _DAYS_PER_YEAR, "W": _DAYS_PER_YEAR / 7, "M": 12.0, "Y": 1.0}

_CONTROLS = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters, surrogates, and separators of lines and paragraphs."""

_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Unicode's marks that turn the direction of what follows: they can make a text read as another one."""


def as_dataset(header: Header) -> Dataset:
    """All of it as pydicom has it."""
    return header.dataset if isinstance(header, PlainFile) else header


def frame_group(dataset: Header, frame: int, group: str) -> Header:
    """Where the attributes of one frame stand.

    Args:
        dataset: an image.
        frame: zero-based.
        group: keyword of a functional group sequence, e.g. ``PlanePositionSequence``.

    Returns:
        The group's item, per-frame before shared (empty where neither is there); for a single-frame
        image the dataset itself.
    """
    if isinstance(dataset, PlainFile) and _tag("PerFrameFunctionalGroupsSequence") not in dataset.elements:
        return dataset
    dataset = as_dataset(dataset)
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        return dataset
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for owner in (dataset.PerFrameFunctionalGroupsSequence[frame], *shared):
        if items := owner.get(group):
            return Dataset(items[0])
    return Dataset()


def value_of(dataset: Header, keyword: str) -> Any:
    """The value as pydicom gives it; None where missing or where its bytes do not fit its type."""
    try:
        if isinstance(dataset, PlainFile):
            element = dataset.elements.get(_tag(keyword))
            if element is None:
                return None
            if element.VR in _BYTES:
                return element.value
            if element.VR in _OFTEN_EQUAL and element.value is not None and _is_plain_text(element.value):
                return _converted(keyword, element.VR, element.value)
        return as_dataset(dataset).get(keyword)
    except DAMAGED:
        return None


@lru_cache(1024)
def _tag(keyword: str) -> BaseTag:
    return one_tag(int(Tag(keyword)))


def _is_plain_text(value: bytes) -> bool:
    """No character set changes what it says."""
    return value.isascii() and b"\x1b" not in value


@lru_cache(4096)
def _converted(keyword: str, vr: str, value: bytes) -> Any:
    """Most values are the same in all images of a study, and pydicom takes its time to convert one."""
    raw = RawDataElement(_tag(keyword), vr, len(value), value, 0, False, True)
    return convert_raw_data_element(raw).value


def text(dataset: Header, keyword: str) -> str:
    """The value as text, several values joined by a backslash as in DICOM; empty where there is none."""
    value = value_of(dataset, keyword)
    try:
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, MultiValue):
            return "\\".join(str(part) for part in value)
        return "" if value is None or isinstance(value, Sequence) else str(value).strip()
    except DAMAGED:
        return ""


def numbers(dataset: Header, keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly ``count`` finite numbers, or None."""
    value = value_of(dataset, keyword)
    values = value if isinstance(value, MultiValue) else [value]
    try:
        found = tuple(float(part) for part in values)
    except (TypeError, ValueError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def number(dataset: Header, keyword: str) -> float | None:
    """One finite number, or None."""
    found = numbers(dataset, keyword, 1)
    return found[0] if found else None


def integer(dataset: Header, keyword: str) -> int | None:
    """One whole number, or None."""
    found = number(dataset, keyword)
    return None if found is None else int(found)


def legible(value: str) -> str:
    """The text with blanks for what is not seen but acts: control characters, turns of the direction."""
    return "".join(" " if category(letter) in _CONTROLS or letter in _TURNS else letter for letter in value)


def readable_name(dataset: Header, keyword: str = "PatientName") -> str:
    """A person's name as people write it: ``Yamada Tarou (山田 太郎)``."""
    value = value_of(dataset, keyword)
    if not isinstance(value, PersonName):
        return text(dataset, keyword)
    alphabetic, ideographic = (
        " ".join(part for part in group.split("^") if part) for group in (value.alphabetic, value.ideographic)
    )
    if alphabetic and ideographic:
        return f"{alphabetic} ({ideographic})"
    return alphabetic or ideographic


def age_years(dataset: Header) -> float | None:
    """Patient's Age (0010,1010), else from birth date and study date, else None.

    ``000Y`` is what anonymisers leave behind; newborns carry days, weeks or months.
    """
    age = text(dataset, "PatientAge")
    if age[:-1].isdecimal() and age[-1] in _AGE_UNITS_PER_YEAR and age != "000Y":
        return int(age[:-1]) / _AGE_UNITS_PER_YEAR[age[-1]]
    born, studied = _day(dataset, "PatientBirthDate"), _day(dataset, "StudyDate")
    if born is None or studied is None:
        return None
    birthday_to_come = (studied.month, studied.day) < (born.month, born.day)
    return float(studied.year - born.year - birthday_to_come)


def _day(dataset: Header, keyword: str) -> date | None:
    """A DICOM date (DA), None where missing or malformed."""
    try:
        return datetime.strptime(text(dataset, keyword), "%Y%m%d").date()
    except ValueError:
        return None
