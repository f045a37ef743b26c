"""Keeping patients out of the names that messages show: exporters like to name files after them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from pydicom import Dataset

from lungct.dicom_read.headers import text

MASK = "***"
SHORTEST_WORD = 3
SHORTEST_WITH_DIGITS = 5
"""Shorter parts of a name or number occur by chance in any file name; Chinese names are shorter."""

IDENTIFYING = (
    "PatientName",
    "PatientID",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientBirthDate",
    "AccessionNumber",
)


def identifying_texts(dataset: Dataset) -> tuple[str, ...]:
    """Return the values of a header that name its patient, as they are."""
    return tuple(text(dataset, keyword) for keyword in IDENTIFYING)


def identifiers(dataset: Dataset) -> frozenset[str]:
    """Return everything in a header that names its patient, whole and in parts: letters and digits only."""
    return parts_of_names(identifying_texts(dataset))


def parts_of_names(values: Iterable[str]) -> frozenset[str]:
    """Return the letters and digits of identifying texts, whole and in parts."""
    groups = {group for value in values for group in re.split(r"[=\\]", value)}
    wholes = {whole for group in groups if len(whole := _letters(group)) >= SHORTEST_WORD}
    words = {_letters(word) for group in groups for word in re.split(r"[\W_]+", group)}
    return frozenset(wholes | {word for word in words if _is_telling(word)})


def printable(name: str) -> str:
    """Return a file name that every log and JSON reader takes: in UTF-8, without line breaks."""
    decodable = name.encode("utf-8", "replace").decode("utf-8")
    return "".join(letter if letter.isprintable() else "?" for letter in decodable)


class NameMask:
    """Replaces identifiers inside file names, whatever case, accents and punctuation they are written in."""

    def __init__(self, identifying: Iterable[str]) -> None:
        """Mask these identifiers."""
        longest_first = sorted(identifying, key=len, reverse=True)
        patterns = (r"[\W_]*".join(map(re.escape, letters)) for letters in longest_first)
        self._pattern = re.compile("|".join(patterns) or r"(?!)", re.IGNORECASE)

    def __call__(self, name: str) -> str:
        """Return the name with every identifier masked."""
        decomposed = unicodedata.normalize("NFKD", name)
        masked, n_masked = self._pattern.subn(MASK, decomposed)
        return unicodedata.normalize("NFC", masked) if n_masked else name


def _letters(value: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", value)))


def _is_telling(word: str) -> bool:
    if not word.isascii():
        return True
    return len(word) >= (SHORTEST_WORD if word.isalpha() else SHORTEST_WITH_DIGITS)
