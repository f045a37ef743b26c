"""Writes copies of files, and the report of what was changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from lungct.dicom_read.files import read_dataset, walk
from lungct.dicom_read.headers import DAMAGED, text
from lungct_services.deidentify.leftovers import identity_of, is_left
from lungct_services.deidentify.mapping import Mapping
from lungct_services.deidentify.profile import LONGEST_SHIFT_DAYS, Patient, deidentify
from lungct_services.deidentify.pseudonyms import Pseudonyms
from lungct_services.deidentify.refusal import refusal

REPORT_FILE = "deidentification.json"


class Copies:
    """Pseudonymised copies below a folder, named by their new UIDs."""

    def __init__(self, pseudonyms: Pseudonyms, out: Path, mapping: Path) -> None:
        """Read the mapping; make nothing yet.

        Args:
            pseudonyms: from the key of the site.
            out: folder of the copies.
            mapping: file that is added to before each copy is written.

        Raises:
            SettingsError: the mapping cannot be read or written.
        """
        self._pseudonyms = pseudonyms
        self._mapping = Mapping(mapping)
        self._out = out
        self._patients: dict[str, Patient] = {}
        self._left_out: Counter[str] = Counter()
        self._changes: dict[str, Counter[str]] = {}
        self.n_copied = 0

    def copy_folder(self, folder: Path) -> None:
        """Copy every object that may be passed on."""
        self._out.mkdir(parents=True, exist_ok=True)
        for path in walk(folder, lambda _path, code, _why: self._left_out.update([code])):
            if (reason := self._copy(path)) is not None:
                self._left_out[reason] += 1

    def write_report(self) -> Counter[str]:
        """Write what was changed, without a value of anybody, beside the copies; return what was left out."""
        report = {
            "profile": "DICOM PS3.15 Basic Application Level Confidentiality Profile",
            "options": [
                "Retain Longitudinal Temporal Information With Modified Dates",
                "Retain Patient Characteristics",
            ],
            "dates": f"moved back by 1 to {LONGEST_SHIFT_DAYS} days, by patient",
            "n_patients": len(self._patients),
            "n_copied": self.n_copied,
            "left_out": dict(self._left_out),
            "attributes": {keyword: dict(counts) for keyword, counts in sorted(self._changes.items())},
        }
        (self._out / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        return self._left_out

    def _copy(self, path: Path) -> str | None:
        """Copy a file; return the code of the reason where there is no copy."""
        if not path.is_file():  # a pipe would be waited for
            return "NOT_A_FILE"
        try:
            dataset = read_dataset(path, with_pixels=True)
            dataset.decode()
            if (reason := refusal(dataset)) is not None:
                return reason
            before, identity = dict(_values(dataset)), identity_of(dataset)
            patient_id = text(dataset, "PatientID")
            patient = self._patients.setdefault(patient_id, Patient(self._pseudonyms, patient_id))
            deidentify(dataset, patient)
            if is_left(identity, patient.uids.keys(), dataset):
                return "IDENTIFIER_LEFT"
            self._mapping.add(patient)
            folder = self._out / dataset.StudyInstanceUID
            folder.mkdir(exist_ok=True)
            dataset.save_as(folder / f"{dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
        except InvalidDicomError:
            return "NOT_DICOM"
        except DAMAGED:
            return "DAMAGED"
        self._note_changes(before, dict(_values(dataset)))
        self.n_copied += 1
        return None

    def _note_changes(self, before: dict[str, str], after: dict[str, str]) -> None:
        for place in before.keys() | after.keys():
            keyword = place.rsplit("/", 1)[-1]
            if place not in after:
                change = "removed"
            elif place not in before:
                change = "added"
            else:
                change = "kept" if before[place] == after[place] else "replaced"
            self._changes.setdefault(keyword, Counter())[change] += 1


def _values(dataset: Dataset, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield place and value of every element, of items too."""
    for element in dataset:
        here = f"{place}/{element.keyword or f'{element.tag:08X}'}"
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                yield from _values(item, f"{here}[{number}]")
        elif element.tag.group != 0x7FE0:
            yield here, str(element.value)
