"""The cohort of a site: one row a CT in a CSV or Parquet file, checked before anything is read.

Columns: ``path`` (folder of a DICOM series, or a volume file), ``patient``, ``institution``, ``label`` (one
of ``CLASSES``); optional ``mask`` (lungs or lobes), ``split``, and what subgroups are made of. Paths are
relative to the file. Messages name rows as a spreadsheet counts them, the header being row 1, and never a
patient.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl

from lungct.errors import InputError
from lungct.networks.classifier3d import CLASSES

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
SHARES = (0.70, 0.15, 0.15)
"""Shares of the cases, in the order of ``PARTS`` (Topff et al. 2023)."""

SplitBy = Literal["institution", "patient"]
FEWEST_INSTITUTIONS = 3
"""Institutions that can be divided, one for each part; if there are fewer, patients are."""

N_DRAWN = 4_000_000
MOST_DRAWS = 20_000
"""Random divisions, of which the one nearest to ``SHARES`` in every class is taken. They are fewer for many
groups, so that no more than ``N_DRAWN`` places are drawn. Own decision."""

FACTS = ("vendor", "kernel", "slice_thickness_mm", "sex", "age_years")
"""Optional columns that subgroups are made of."""

REQUIRED = ("path", "patient", "institution", "label")
KNOWN = (*REQUIRED, "mask", "split", *FACTS)


class ManifestError(InputError):
    """Rows of a manifest are wrong."""

    def __init__(self, problems: Iterable[str]) -> None:
        """Tell every problem in a line of its own."""
        super().__init__("\n".join(problems), "MANIFEST")


@dataclass(frozen=True)
class ManifestRow:
    """One CT.

    Attributes:
        row: number as a spreadsheet counts it.
        path: folder of a DICOM series, or a volume file.
        label: one of ``CLASSES``.
        mask: volume file, non-zero inside the lungs; None where the lungs shall be segmented.
        split: None where the manifest does not say.
        facts: values of the columns ``FACTS`` that are there.
    """

    row: int
    path: Path
    patient: str
    institution: str
    label: str
    mask: Path | None = None
    split: Part | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def label_index(self) -> int:
        """The place of the label in ``CLASSES``."""
        return CLASSES.index(self.label)


def read_manifest(path: Path, split_by: SplitBy | None = None) -> list[ManifestRow]:
    """Read and check all rows of a manifest.

    Args:
        path: ``.csv`` or ``.parquet``.
        split_by: what may not stand in two parts, where the manifest has a column ``split``; by default
            institutions where there are at least three, else patients.

    Raises:
        ManifestError: columns or values are missing or unknown, files do not exist, rows repeat each other,
            or a patient or an institution stands in two parts. All problems are told at once.
    """
    table = _table(path)
    _require_columns(table.columns, path)
    rows = [{key: (value or "").strip() for key, value in row.items()} for row in table.to_dicts()]
    if not any(row.get("split") for row in rows):
        rows = [{key: value for key, value in row.items() if key != "split"} for row in rows]
    problems = [problem for row, values in enumerate(rows, 2) for problem in _problems(row, values, path)]
    if not rows:
        problems = [f"{path.name} has no rows"]
    if problems:
        raise ManifestError(problems)
    cases = [_case(row, values, path.parent) for row, values in enumerate(rows, 2)]
    problems = [*_repeated(cases), *_on_two_sides(cases, "patient", "keep a patient in one part")]
    if _split_unit(cases, split_by) == "institution":
        remedy = "keep an institution in one part, or ask for --split-by patient"
        problems += _on_two_sides(cases, "institution", remedy)
    if problems:
        raise ManifestError(problems)
    return cases


def _table(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path).select(pl.all().cast(pl.String))
        return pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ManifestError([f"{path.name} cannot be read: give a CSV or a Parquet file"]) from error


def _require_columns(columns: Sequence[str], path: Path) -> None:
    problems = [f"{path.name} lacks the column {name}" for name in REQUIRED if name not in columns]
    problems += [
        f"{path.name} has the unknown column {name!r}{_meant(name, KNOWN)}"
        for name in columns
        if name not in KNOWN
    ]
    if problems:
        raise ManifestError(problems)


def _meant(value: str, allowed: Sequence[str]) -> str:
    """Name what was probably meant, else all that is allowed."""
    near = get_close_matches(value.lower().replace("-", ""), allowed, n=1)
    return f": did you mean {near[0]!r}?" if near else f": expected {', '.join(allowed)}"


def _problems(row: int, values: Mapping[str, str], manifest: Path) -> Iterator[str]:
    for name in REQUIRED:
        if not values[name]:
            yield f"row {row}: {name} is empty"
    for name, allowed in (("label", CLASSES), ("split", PARTS)):
        value = values.get(name)
        if value and value not in allowed:
            yield f"row {row}: {name} {value!r} is unknown{_meant(value, allowed)}"
    if values.get("split") == "":
        yield f"row {row}: split is empty: give every row a part, or none"
    for name in ("path", "mask"):
        if values.get(name) and not (manifest.parent / values[name]).exists():
            yield f"row {row}: {name} does not exist"


def _case(row: int, values: Mapping[str, str], folder: Path) -> ManifestRow:
    return ManifestRow(
        row,
        (folder / values["path"]).resolve(),
        values["patient"],
        values["institution"],
        values["label"],
        (folder / values["mask"]).resolve() if values.get("mask") else None,
        next((part for part in PARTS if part == values.get("split")), None),
        {name: values[name] for name in FACTS if values.get(name)},
    )


def _split_unit(cases: Sequence[ManifestRow], split_by: SplitBy | None) -> SplitBy:
    enough = len({case.institution for case in cases}) >= FEWEST_INSTITUTIONS
    return split_by or ("institution" if enough else "patient")


def _repeated(cases: Sequence[ManifestRow]) -> Iterator[str]:
    for same in _repeating(cases, "path"):
        yield f"rows {', '.join(str(case.row) for case in same)} name the same path"
    for same in _repeating(cases, "patient"):
        if len({case.institution for case in same}) > 1:
            rows = ", ".join(str(case.row) for case in same)
            yield f"rows {rows} are one patient in several institutions: make the patients' names unique"


def _on_two_sides(cases: Sequence[ManifestRow], unit: SplitBy, remedy: str) -> Iterator[str]:
    for same in _repeating(cases, unit):
        firsts = {case.split: case for case in reversed(same)}
        if len(firsts) > 1:
            shown = ", ".join(f"row {c.row} {c.split}" for c in sorted(firsts.values(), key=lambda c: c.row))
            yield f"one {unit} stands in several parts ({shown}): {remedy}"


def _repeating(cases: Sequence[ManifestRow], key: str) -> Iterator[list[ManifestRow]]:
    """Group cases that have the same value; groups of one are left out."""
    groups: dict[object, list[ManifestRow]] = defaultdict(list)
    for case in cases:
        groups[getattr(case, key)].append(case)
    return (group for group in groups.values() if len(group) > 1)


def split_cases(
    cases: Sequence[ManifestRow], seed: int, split_by: SplitBy | None = None
) -> list[ManifestRow]:
    """Put each case in a part: as the manifest says, else at random 70:15:15.

    Institutions are divided where there are at least three, else patients; every class is in every part.

    Raises:
        ManifestError: a class has no cases, or none in some part.
    """
    empty = [name for name in CLASSES if name not in {case.label for case in cases}]
    if empty:
        raise ManifestError(f"class {name} has no cases" for name in empty)
    if cases[0].split is None:
        cases = _divided(cases, seed, _split_unit(cases, split_by))
    held = {(case.split, case.label) for case in cases}
    missing = [(part, name) for part in PARTS for name in CLASSES if (part, name) not in held]
    if missing:
        raise ManifestError(f"class {name} has no cases in {part}" for part, name in missing)
    return list(cases)


def _divided(cases: Sequence[ManifestRow], seed: int, unit: SplitBy) -> list[ManifestRow]:
    groups = sorted({getattr(case, unit) for case in cases})
    counts = np.zeros((len(groups), len(CLASSES)))
    for case in cases:
        counts[groups.index(getattr(case, unit)), case.label_index] += 1
    n_draws = min(MOST_DRAWS, N_DRAWN // len(groups))
    draws = np.random.default_rng(seed).choice(len(PARTS), (n_draws, len(groups)), p=SHARES)
    held = np.stack([(draws == part) @ counts for part in range(len(PARTS))], axis=1)
    off = np.abs(held / counts.sum(axis=0) - np.array(SHARES)[:, None]).sum(axis=(1, 2))
    possible = held.min(axis=(1, 2)) > 0
    if not possible.any():
        problem = f"the {len(groups)} {unit}s cannot be divided so that every class is in every part"
        raise ManifestError([f"{problem}: add cases, add a column split, or ask for --split-by patient"])
    best = draws[int(np.where(possible, off, np.inf).argmin())]
    return [replace(case, split=PARTS[best[groups.index(getattr(case, unit))]]) for case in cases]


def format_manifest(cases: Sequence[ManifestRow]) -> str:
    """Write cases as a CSV manifest with whole paths; columns without any value are left out."""
    rows = [vars(case) | dict(case.facts) for case in cases]
    used = [name for name in KNOWN if any(row.get(name) for row in rows)]
    table = {name: [str(row.get(name) or "") for row in rows] for name in used}
    return pl.DataFrame(table).write_csv()
