"""Searches for what still identifies a patient after a data set was changed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from pydicom import DataElement, Dataset
from pydicom.charset import python_encoding

from lungct.dicom_read.headers import text
from lungct.dicom_read.privacy import identifiers

SHORTEST_WORD = 4
"""Letters of a part of a name; own decision: shorter ones occur by chance."""
SHORTEST_NUMBER = 6
"""Digits of a number; own decision: shorter ones count only where they stand alone."""
SHORTEST_IN_PIXELS = 6
"""Letters of a word; own decision: shorter ones occur by chance among half a million grey values."""

_WHOLE = ("InstitutionName", "InstitutionAddress", "PatientAddress", "PatientTelephoneNumbers", "StudyID")
_MACHINE = ("Manufacturer", "ManufacturerModelName")
"""Attributes whose words name no patient: programs enter themselves as makers of a segmentation."""
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})
_UID_LIKE = re.compile(r"\d+(?:\.\d+){4,}")
_ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be")


@dataclass(frozen=True)
class Identity:
    """Everything in a data set that names people, folded to small letters and digits. Never logged."""

    words: frozenset[str]

    def is_in(self, value: str) -> bool:
        """Return whether a text names somebody, whatever its case, accents and punctuation."""
        folded = _fold(value)
        alone = set(re.findall(r"\d+", value))
        return any(
            word in alone if word.isdecimal() and len(word) < SHORTEST_NUMBER else word in folded
            for word in self.words
        )

    def is_in_bytes(self, content: bytes) -> bool:
        """Return whether bytes hold a longer word in one of four encodings."""
        small = content.lower()
        long = (word for word in self.words if len(word) >= SHORTEST_IN_PIXELS)
        return any(word.encode(encoding) in small for word in long for encoding in _ENCODINGS)


def identity_of(dataset: Dataset) -> Identity:
    """Return what names the patient, and everybody else, in a data set that was not changed yet."""
    wholes = [text(dataset, keyword) for keyword in _WHOLE]
    people = [str(element.value) for element in dataset.iterall() if element.VR == "PN"]
    parts = [part for name in people for part in re.split(r"[\W_]+", name)]
    machine = "".join(_fold(text(dataset, keyword)) for keyword in _MACHINE)
    patient = _words(identifiers(dataset))
    return Identity(patient | {word for word in _words([*wholes, *people, *parts]) if word not in machine})


def _words(found: Iterable[str]) -> frozenset[str]:
    folded = {_fold(written) for word in found for written in (word, word.translate(_UMLAUTS))}
    return frozenset(word for word in folded if len(word) >= SHORTEST_WORD)


def is_left(identity: Identity, uids: Collection[str], changed: Dataset) -> bool:
    """Return whether a changed data set still says whom it shows.

    Args:
        identity: identity of the data set before.
        uids: UIDs that were replaced.
        changed: data set to search, in all items and in its pixels.
    """
    for element in changed.iterall():
        if isinstance(element.value, bytes):
            if identity.is_in_bytes(element.value):
                return True
            continue
        if element.VR == "UI":
            if any(uid in uids for uid in _values(element)):
                return True
            continue
        for reading in _readings(element):
            if identity.is_in(reading) or any(uid in uids for uid in _UID_LIKE.findall(reading)):
                return True
    return False


def has_unreadable_text(dataset: Dataset) -> bool:
    """Return whether a text is in an unknown character set, or not in the one that it should be in."""
    for element in dataset.iterall():
        values = _values(element)
        if element.keyword == "SpecificCharacterSet" and not python_encoding.keys() >= set(values):
            return True
        if any("\ufffd" in value for value in values):
            return True
    return False


def _values(element: DataElement) -> list[str]:
    if element.VR == "SQ" or element.is_empty or isinstance(element.value, bytes):
        return []
    return [str(value) for value in (element.value if element.VM > 1 else [element.value])]


def _readings(element: DataElement) -> Iterator[str]:
    """Yield the values as they are, and as UTF-8 that another character set was declared for."""
    for value in _values(element):
        yield value
        yield value.encode("latin-1", "ignore").decode("utf-8", "ignore")


def _fold(value: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", value.casefold())))
