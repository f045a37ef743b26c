"""Changes, series and studies as Orthanc lists them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Change:
    """One line of the change feed."""

    sequence: int
    kind: str
    resource: str
    date: str


@dataclass(frozen=True)
class Page:
    """A piece of the change feed.

    Attributes:
        changes: in the order in which they happened.
        last: sequence number of the last of them, or where the piece would begin if it is empty.
        is_last: nothing newer is known.
    """

    changes: tuple[Change, ...]
    last: int
    is_last: bool


@dataclass(frozen=True)
class SeriesEntry:
    """A series as Orthanc lists it: without a look into its images."""

    id: str
    uid: str
    modality: str
    instances: tuple[str, ...]


@dataclass(frozen=True)
class StudyEntry:
    """A study as Orthanc lists it. Never logged."""

    id: str
    uid: str = field(repr=False)
    study_date: str = field(repr=False)
    is_stable: bool
    series: tuple[SeriesEntry, ...]

    @property
    def ct_series(self) -> list[SeriesEntry]:
        """Return the series of CT images; results are of other modalities."""
        return [series for series in self.series if series.modality == "CT"]


def page_of(page: dict[str, Any]) -> Page:
    """Return a piece of the change feed as Orthanc writes it."""
    changes = (Change(item["Seq"], item["ChangeType"], item["ID"], item["Date"]) for item in page["Changes"])
    return Page(tuple(changes), page["Last"], is_last=page["Done"])


def entry_of(study: dict[str, Any], series: list[dict[str, Any]]) -> StudyEntry:
    """Return a study and its series as Orthanc writes them."""
    entries = (
        SeriesEntry(
            item["ID"],
            item["MainDicomTags"].get("SeriesInstanceUID", ""),
            item["MainDicomTags"].get("Modality", ""),
            tuple(sorted(item["Instances"])),
        )
        for item in series
    )
    tags = study["MainDicomTags"]
    return StudyEntry(
        study["ID"], tags["StudyInstanceUID"], tags.get("StudyDate", ""), study["IsStable"], tuple(entries)
    )
