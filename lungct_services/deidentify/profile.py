"""The Basic Application Level Confidentiality Profile (PS3.15 E.2) with two of its options.

The table and most of its actions are those of the library dicom-anonymizer. What it leaves to the user is
here: pseudonyms that are the same in every run with the same key, dates that keep their distances (Retain
Longitudinal Temporal Information With Modified Dates), age and sex kept (Retain Patient Characteristics),
references between objects kept, and items of sequences treated like the data set around them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from dicomanonymizer.simpledicomanonymizer import (
    anonymize_dataset,
    delete_or_empty_or_replace_UID,
    initialize_actions,
    keep,
    replace_UID,
)
from pydicom import DataElement, Dataset
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.multival import MultiValue
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from lungct.dicom_read.headers import age_years
from lungct_services.deidentify.pseudonyms import Pseudonyms

EDITION = "dicomfields_2026c"
LONGEST_SHIFT_DAYS = 3650
OLDEST_AGE_YEARS = 89
"""Oldest age that is kept: older people are few, so their age tells who they are (HIPAA, Safe Harbor)."""

_METHODS: tuple[Code, ...] = (
    codes.DCM.BasicApplicationConfidentialityProfile,
    codes.DCM.RetainLongitudinalTemporalInformationModifiedDatesOption,
    codes.DCM.RetainPatientCharacteristicsOption,
)
_BIRTH = ((0x0010, 0x0030), (0x0010, 0x0032))
_AGE, _SEX = (0x0010, 0x1010), (0x0010, 0x0040)
_TEMPORAL = [
    (tag >> 16, tag & 0xFFFF) for tag, (vr, *_) in DicomDictionary.items() if vr in ("DA", "DT", "TM")
]
"""Tags of all dates and times that the standard knows, also those that its table does not list."""
_DATE, _DATE_LENGTH = "%Y%m%d", 8
_REPEATING_GROUPS = {*range(0x5000, 0x5100), *range(0x6000, 0x6100)}
"""Groups of curves and overlays: the table removes data and comments, but leaves labels."""
_NOT_TEXT = {"SQ", "UN", "OB", "OD", "OF", "OL", "OV", "OW"}
_PUBLIC = ("1.2.840.10008.", "2.16.840.1.113883.")
"""Roots of the UIDs that DICOM and HL7 give to kinds of things, not to patients, studies and devices."""

Action = Callable[[Dataset, tuple[int, int]], None]


@dataclass(frozen=True, eq=False)
class Patient:
    """One patient of one site, and the changes to all their data sets.

    Attributes:
        uids: original to new, filled while data sets are changed.
    """

    pseudonyms: Pseudonyms
    patient_id: str = field(repr=False)
    uids: dict[str, str] = field(default_factory=dict, repr=False)
    _new: list[tuple[str, str]] = field(default_factory=list, repr=False)

    @property
    def pseudonym(self) -> str:
        """Return the new name and ID."""
        return f"P-{self.pseudonyms.name('patient', self.patient_id).upper()}"

    @property
    def shift(self) -> timedelta:
        """Return the shift of every date: back by 1 to 3650 days."""
        number = int.from_bytes(self.pseudonyms.digest("days", self.patient_id))
        return -timedelta(days=1 + number % LONGEST_SHIFT_DAYS)

    def uid(self, original: str) -> str:
        """Return the new UID: a UUID from the key (PS3.5 B.2), so it says nothing without it."""
        if original not in self.uids:
            digest = self.pseudonyms.digest("uid", original)
            self.uids[original] = f"2.25.{int.from_bytes(digest[:16])}"
            self._new.append((original, self.uids[original]))
        return self.uids[original]

    def new_uids(self) -> list[tuple[str, str]]:
        """Return original and new of the UIDs that came up since the last call."""
        found, self._new[:] = list(self._new), []
        return found


def deidentify(dataset: Dataset, patient: Patient) -> None:
    """Change a data set in place.

    Args:
        dataset: data set to change; its file meta information is made anew.
        patient: patient whom it shows.
    """
    _deidentify_level(dataset, patient, _rules(patient))
    dataset.PatientName = dataset.PatientID = patient.pseudonym
    dataset.PatientIdentityRemoved = "YES"
    dataset.LongitudinalTemporalInformationModified = "MODIFIED"
    dataset.DeidentificationMethod = f"PS3.15 E.1-1 {EDITION.removeprefix('dicomfields_')}, lungct"
    dataset.DeidentificationMethodCodeSequence = [_coded(code) for code in _METHODS]
    syntax = dataset.file_meta.TransferSyntaxUID
    dataset.file_meta.clear()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.preamble = bytes(128)


def _deidentify_level(dataset: Dataset, patient: Patient, rules: dict[Any, Action]) -> None:
    """Change the items of all sequences, and then the data set that holds them."""
    for element in list(dataset):
        if not _is_understood(element):
            del dataset[element.tag]
        elif element.VR == "SQ":
            for item in element.value:
                _deidentify_level(item, patient, rules)
        elif dictionary_VR(element.tag) == "UI":
            place = (element.tag.group, element.tag.elem)
            _replace(dataset, place, lambda uid: uid if uid.startswith(_PUBLIC) else patient.uid(uid))
    anonymize_dataset(dataset, base_rules_gen=lambda: rules)
    for element in dataset:
        if element.VR == "PN" or dictionary_VR(element.tag) == "PN":
            element.value = ""


def _is_understood(element: DataElement) -> bool:
    """Return whether the standard knows an element, and it holds what the standard says.

    Writers that convert data sets leave sequences behind as bytes of an unknown kind (UN), with all that
    stands in them. Curves, overlays and private elements are removed in any case.
    """
    tag = element.tag
    if tag.is_private or tag.group in _REPEATING_GROUPS or not dictionary_has_tag(tag):
        return False
    kinds = dictionary_VR(tag).split(" or ")
    return element.VR in kinds or not ({element.VR, *kinds} & _NOT_TEXT)


def _rules(patient: Patient) -> dict[Any, Action]:
    """Return the action for each tag: of the standard's table, or one that takes its place."""

    def shifted(dataset: Dataset, tag: tuple[int, int]) -> None:
        _replace(dataset, tag, lambda value: shift_date(value, patient.shift))

    rules: dict[Any, Action] = initialize_actions(EDITION)
    for tag, action in rules.items():
        if action in (replace_UID, delete_or_empty_or_replace_UID):
            rules[tag] = keep  # all UIDs are new by now, those of references too
    rules |= dict.fromkeys(_TEMPORAL, shifted) | dict.fromkeys(_BIRTH, _emptied)
    return rules | {_AGE: _capped_age, _SEX: keep}


def shift_date(value: str, shift: timedelta) -> str:
    """Shift a date (DA) or date and time (DT); times of day stay. Return nothing for what is no date."""
    day, rest = value[:_DATE_LENGTH], value[_DATE_LENGTH:]
    try:
        return f"{datetime.strptime(day, _DATE) + shift:{_DATE}}{rest}"
    except (ValueError, OverflowError):
        return ""


def _replace(dataset: Dataset, tag: tuple[int, int], change: Callable[[str], str]) -> None:
    element = dataset.get(tag)
    if element is None or not element.value or element.VR == "TM":
        return
    if isinstance(element.value, MultiValue):
        element.value = [change(str(value)) for value in element.value]
    else:
        element.value = change(str(element.value))


def _emptied(dataset: Dataset, tag: tuple[int, int]) -> None:
    if (element := dataset.get(tag)) is not None:
        element.value = ""


def _capped_age(dataset: Dataset, tag: tuple[int, int]) -> None:
    age = dataset.get(tag)
    if age is not None and (age_years(dataset) or 0) > OLDEST_AGE_YEARS:
        age.value = f"{OLDEST_AGE_YEARS + 1:03d}Y"


def _coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code[:3]
    return item
