"""Whether text fits the character set that its header declares (PS3.5 6.1, PS3.3 C.12.1.1.2).

Exporters write GB 18030, UTF-8 or Windows bytes and declare ISO_IR 100 or nothing. Every byte is a letter of
Latin 1, so such a name decodes without an error, into one that nobody has.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from unicodedata import category

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS, PersonName

from lungct.dicom_read.headers import DAMAGED

_UTF_8 = "utf-8"
_LATIN = {f"iso8859-{part}" for part in (1, 2, 3, 4, 9, 15)}
"""Python's names of the sets in which foreign bytes decode into letters with accents."""

_SEVERAL_BYTES = {"gb18030", "gbk", "gb2312", "euc_kr", "shift_jis", "iso2022_jp", "iso2022_jp_2"}

_LAST_LATIN = "\u024f"
_LONG_RUN = re.compile(f"[\u00c0-{_LAST_LATIN}]{{4,}}")
"""No European name has four letters with accents in a row; own decision."""

_WORD_BEYOND_ASCII = re.compile(r"(?<![^\W\d_])[^\W\d_A-Za-z]{2,}(?![^\W\d_])")
"""In a Latin set such a word is no name; elsewhere a small first letter and a capital behind it are signs of
KOI8-R that was read as ISO 8859-5. Own decision."""

_NOT_WRITTEN = ("Cc", "Co", "Cn")
"""Unicode's categories of control characters, private letters and code points without a letter."""

_IN_NAMES = "\N{ACUTE ACCENT}\N{DIAERESIS}\N{MIDDLE DOT}\N{DEGREE SIGN}\N{NO-BREAK SPACE}\N{SOFT HYPHEN}"
"""Signs beyond ASCII that names are written with: the acute accent stands for an apostrophe in Spain."""

_FIRST_OF_THREE_BYTES = 0x0800
"""Code point from which UTF-8 needs three bytes; two can be a letter of GB 2312 by chance."""


def find_misfits(header: Dataset, keywords: Iterable[str]) -> tuple[str, ...]:
    """Return the keywords of those attributes whose bytes do not fit the declared character set.

    Args:
        header: as read from its file; elements that were decoded before keep their bytes in names only.
        keywords: which text attributes to look at.
    """
    declared = declared_encodings(header)
    return tuple(
        keyword
        for keyword in keywords
        if (stored := stored_bytes(header, keyword)) and not _fits(stored, declared, keyword.endswith("Name"))
    )


def declared_encodings(header: Dataset) -> list[str]:
    """Return Python's names of the character sets that Specific Character Set declares."""
    try:
        return convert_encodings(header.get("SpecificCharacterSet"))
    except DAMAGED:
        return convert_encodings(None)


def stored_bytes(header: Dataset, keyword: str) -> bytes | None:
    """Return the value as the file holds it; None where it is missing or was decoded before."""
    tag = tag_for_keyword(keyword)
    element = header.get_item(tag) if tag is not None and tag in header else None
    if isinstance(element, RawDataElement):
        return element.value
    value = element.value if element is not None else None
    return value.original_string if isinstance(value, PersonName) else None


def _fits(stored: bytes, declared: list[str], is_name: bool) -> bool:
    if stored.isascii() and b"\x1b" not in stored:
        return True
    first = codecs.lookup(declared[0]).name
    try:
        decoded = decode_bytes(stored.rstrip(b"\0 "), declared, TEXT_VR_DELIMS | PN_DELIMS)
    except DAMAGED:
        return False
    if any(letter == "\ufffd" or category(letter) in _NOT_WRITTEN for letter in _line(decoded)):
        return False
    if first == _UTF_8:
        return True
    is_foreign = (
        _is_utf_8(stored, first in _SEVERAL_BYTES)
        or (first in _LATIN and _LONG_RUN.search(decoded))
        or (is_name and _is_no_name(decoded, first in _LATIN))
    )
    return not is_foreign


def _line(decoded: str) -> str:
    return re.sub(r"[\r\n\t\f]", " ", decoded)


def _is_utf_8(stored: bytes, several_bytes: bool) -> bool:
    try:
        letters = [letter for letter in stored.decode("utf-8") if not letter.isascii()]
    except UnicodeDecodeError:
        return False
    return bool(letters) and (not several_bytes or min(map(ord, letters)) >= _FIRST_OF_THREE_BYTES)


def _is_no_name(decoded: str, is_latin: bool) -> bool:
    """Tell whether a decoded name holds what names do not hold."""
    if any(
        not letter.isascii() and letter not in _IN_NAMES and category(letter)[0] in "SNPC"
        for letter in decoded
        if is_latin or letter == "№"
    ):
        return True
    words = _WORD_BEYOND_ASCII.findall(decoded)
    if is_latin:
        return any(max(word) <= _LAST_LATIN for word in words)
    return any(word[0].islower() and not word.islower() for word in words)
