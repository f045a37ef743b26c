"""Keeping patients out of the names that messages show: exporters like to name files after them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydicom import Dataset

from lungct.dicom_read.headers import text

MASK = "***"
SHORTEST_IDENTIFIER = 3
"""Shorter parts of a name or number occur by chance in any file name."""

_IDENTIFYING = (
    "PatientName",
    "PatientID",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientBirthDate",
    "AccessionNumber",
)


def identifiers(dataset: Dataset) -> set[str]:
    """Everything in a header that names its patient, whole and in parts."""
    values = {text(dataset, keyword) for keyword in _IDENTIFYING}
    parts = {part for value in values for part in re.split(r"[\^=\\\s]+", value)}
    return {part for part in values | parts if len(part) >= SHORTEST_IDENTIFIER}


class NameMask:
    """Replaces identifiers inside file names."""

    def __init__(self, identifying: Iterable[str]) -> None:
        """Mask these identifiers, in upper or lower case."""
        longest_first = sorted(identifying, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)", re.IGNORECASE)

    def __call__(self, name: str) -> str:
        """The name with every identifier masked."""
        return self._pattern.sub(MASK, name)
