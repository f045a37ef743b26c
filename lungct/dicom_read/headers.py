"""DICOM attributes as plain Python values; missing or malformed ones are None or empty.

The same calls serve single-frame images and multi-frame ones, whose attributes stand in functional
groups (PS3.3 C.7.6.16.1.1).
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Sequence as Items
from datetime import date, datetime
from typing import Any
from unicodedata import category

from pydicom import Dataset, config
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.valuerep import PersonName

DAMAGED = (
    OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError,
    OverflowError, RecursionError, struct.error, zlib.error, BytesLengthException,
)  # fmt: skip
"""What pydicom raises on bytes that are no valid data set, often only when an element is looked at. To be
caught around calls of pydicom alone: in code of ours most of these are faults of ours."""

_BREATHS = {
    "out": re.compile(r"EXS?PIR|(?<![A-Z])EXS?P(?![A-Z])|(?<!R)ESPIR|AUSATM|UITADEM|呼气|呼気|ВЫДОХ"),
    "in": re.compile(r"INSP|EINATM|INADEM|吸气|吸気|ВДОХ"),
}
"""Words for breathing out and in, in the languages that protocols are often named in."""

_DAYS_PER_YEAR = 365.25
_AGE_UNITS_PER_YEAR = {"D": _DAYS_PER_YEAR, "W": _DAYS_PER_YEAR / 7, "M": 12.0, "Y": 1.0}

_OLDEST_YEARS = 115
"""Own decision: who would be older has a dummy for a birth date, such as 19000101."""
_FIRST_CT_YEAR = 1971
"""Of the first CT of a patient (Hounsfield, Br J Radiol 1973); an earlier study date is a dummy."""

_CONTROLS = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters, surrogates, and separators of lines and paragraphs."""

_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Unicode's marks that turn the direction of what follows: they can make a text read as another one."""


def keep_values_out_of_warnings() -> None:
    """Let pydicom be silent about malformed values: its warnings quote them, and may reach a log."""
    config.settings.reading_validation_mode = config.IGNORE


def frame_group(dataset: Dataset, frame: int, group: str) -> Dataset:
    """Return the data set in which the attributes of one frame stand.

    Args:
        dataset: an image.
        frame: zero-based.
        group: keyword of a functional group sequence, e.g. ``PlanePositionSequence``.

    Returns:
        The group's item, per-frame before shared; where neither is there, and for a single-frame image, the
        data set itself: converters write attributes of frames at its top level.
    """
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        return dataset
    per_frame = items_of(dataset, "PerFrameFunctionalGroupsSequence")
    owners = [per_frame[frame]] if frame < len(per_frame) else []
    for owner in (*owners, *items_of(dataset, "SharedFunctionalGroupsSequence")):
        if items := items_of(owner, group):
            return items[0]
    return dataset


def value_of(dataset: Dataset, keyword: str) -> Any:
    """Return the value as pydicom gives it; None where missing or where its bytes do not fit its type."""
    try:
        return dataset.get(keyword)
    except DAMAGED:
        return None


def items_of(dataset: Dataset, keyword: str) -> Items[Dataset]:
    """Return the items of a sequence; none where it is missing, damaged or no sequence."""
    value = value_of(dataset, keyword)
    return value if isinstance(value, Sequence) else ()


def text(dataset: Dataset, keyword: str) -> str:
    """Return the value as text, several values joined by a backslash; empty where there is none."""
    value = value_of(dataset, keyword)
    try:
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, MultiValue):
            return "\\".join(str(part) for part in value)
        return "" if value is None or isinstance(value, Sequence) else str(value).strip()
    except DAMAGED:
        return ""


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return exactly ``count`` finite numbers, or None. Decimal commas are read as points."""
    value = value_of(dataset, keyword)
    values = value if isinstance(value, MultiValue) else [value]
    try:
        found = tuple(
            float(part.replace(",", ".")) if isinstance(part, str) else float(part) for part in values
        )
    except (TypeError, ValueError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return one finite number, or None."""
    found = numbers(dataset, keyword, 1)
    return found[0] if found else None


def integer(dataset: Dataset, keyword: str) -> int | None:
    """Return one whole number, or None."""
    found = number(dataset, keyword)
    return None if found is None else int(found)


def legible(value: str) -> str:
    """Return the text with blanks in place of control characters and marks that turn its direction."""
    return "".join(" " if category(letter) in _CONTROLS or letter in _TURNS else letter for letter in value)


def readable_name(dataset: Dataset, keyword: str = "PatientName") -> str:
    """Return a person's name as people write it: ``Yamada Tarou (山田 太郎)``."""
    value = value_of(dataset, keyword)
    if not isinstance(value, PersonName):
        return text(dataset, keyword)
    alphabetic, ideographic = (
        " ".join(part for part in group.split("^") if part) for group in (value.alphabetic, value.ideographic)
    )
    if alphabetic and ideographic:
        return f"{alphabetic} ({ideographic})"
    return alphabetic or ideographic


def age_years(dataset: Dataset) -> float | None:
    """Return Patient's Age (0010,1010), else years from birth date to study date, else None.

    Anonymisers leave ``000Y`` and dates that cannot be true; newborns carry days, weeks or months.
    """
    found = re.fullmatch(r"(\d{1,3})([DWMY]?)", text(dataset, "PatientAge").upper())
    if found and (int(found[1]) > 0 or found[2] in ("D", "W", "M")):
        years = int(found[1]) / _AGE_UNITS_PER_YEAR[found[2] or "Y"]
        return years if years <= _OLDEST_YEARS else None
    born, studied = _day(dataset, "PatientBirthDate"), _day(dataset, "StudyDate")
    if born is None or studied is None or studied.year < _FIRST_CT_YEAR or born >= studied:
        return None
    birthday_to_come = (studied.month, studied.day) < (born.month, born.day)
    years = float(studied.year - born.year - birthday_to_come)
    return years if years <= _OLDEST_YEARS else None


def study_date(dataset: Dataset) -> str:
    """Return the day of the study, eight digits with the year first; empty where none can be true."""
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        day = _day(dataset, keyword)
        if day is not None and day.year >= _FIRST_CT_YEAR:
            return f"{day:%Y%m%d}"
    return ""


def is_expiration(dataset: Dataset) -> bool:
    """Return whether the series, or else its protocol, is described as taken after breathing out."""
    described = (_breath(text(dataset, keyword)) for keyword in ("SeriesDescription", "ProtocolName"))
    return next((breath for breath in described if breath), "") == "out"


def _breath(description: str) -> str:
    """Return which breath a text names: ``in``, ``out``, or empty where it names none or both."""
    named = [way for way, words in _BREATHS.items() if words.search(description.upper())]
    return named[0] if len(named) == 1 else ""


def _day(dataset: Dataset, keyword: str) -> date | None:
    """Return a DICOM date (DA); None where it is missing or malformed."""
    try:
        return datetime.strptime(text(dataset, keyword).replace(".", ""), "%Y%m%d").date()
    except ValueError:
        return None
