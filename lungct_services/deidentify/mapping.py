"""The table of the site that leads from copies back to patients."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from lungct.errors import SettingsError
from lungct_services.deidentify.profile import Patient

COLUMNS = ("kind", "original", "new")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of cells that a spreadsheet would run as formulas."""
_QUOTE = "'"


class Mapping:
    """A CSV file for its owner alone; each line is on disk before the copy that it belongs to is written."""

    def __init__(self, path: Path) -> None:
        """Read what earlier runs wrote.

        Raises:
            SettingsError: the file cannot be read or written.
        """
        self._path = path
        try:
            self._known = _read(path)
            self._rewrite()
        except (OSError, UnicodeDecodeError, KeyError) as error:
            raise SettingsError(f"the mapping {path.name} cannot be used: check path and access") from error

    def add(self, patient: Patient) -> None:
        """Add what is not known yet of a patient, and have the disk keep it."""
        rows = {
            ("patient", patient.patient_id): patient.pseudonym,
            ("days_back", patient.patient_id): str(-patient.shift.days),
        } | {("uid", original): new for original, new in patient.new_uids()}
        added = {key: new for key, new in rows.items() if self._known.get(key) != new}
        if not added:
            return
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(map(_harmless, ((*key, new) for key, new in added.items())))
            file.flush()
            os.fsync(file.fileno())
        self._known |= added

    def _rewrite(self) -> None:
        """Write all anew: a run that was killed may have left half a line."""
        partial = self._path.with_name(f".{self._path.name}.partial")
        descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(map(_harmless, ((*key, new) for key, new in sorted(self._known.items()))))
        partial.replace(self._path)


def _harmless(cells: tuple[str, ...]) -> list[str]:
    return [_QUOTE + cell if cell.startswith((*_FORMULA, _QUOTE)) else cell for cell in cells]


def _read(path: Path) -> dict[tuple[str, str], str]:
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [[row[column] for column in COLUMNS] for row in csv.DictReader(file)]
    whole = ([cell.removeprefix(_QUOTE) for cell in row] for row in rows if None not in row)
    return {(kind, original): new for kind, original, new in whole}
