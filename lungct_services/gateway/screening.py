"""What the headers say before anything is fetched: which version it is, how urgent, and which series."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from lungct.dicom_read.scan import scan_headers
from lungct.dicom_read.selection import select_series
from lungct.errors import NoDicomError
from lungct.settings import SelectionLimits
from lungct_services.deidentify.pseudonyms import Pseudonyms
from lungct_services.gateway.entries import SeriesEntry, StudyEntry
from lungct_services.gateway.orthanc import Orthanc
from lungct_services.gateway.settings import Limits, PrioritySettings
from lungct_services.jobs.errors import FinalError, IneligibleError
from lungct_services.jobs.records import Arrival

STAT, RECENT, ROUTINE = 0, 1, 2
_MODALITY = "CT"


@dataclass(frozen=True)
class Chosen:
    """The series that is analysed and the digest of its instances."""

    series: SeriesEntry
    content: str


def arrival_of(
    study: StudyEntry, orthanc: Orthanc, pseudonyms: Pseudonyms, settings: PrioritySettings
) -> Arrival:
    """A complete study as a job to do."""
    instances = sorted(instance for series in _ct_series(study) for instance in series.instances)
    return Arrival(
        study=study.id,
        pseudonym=pseudonyms.name(study.id),
        version=_digest(instances) if instances else "",
        priority=_priority(study, instances, orthanc, settings),
    )


def screen(study: StudyEntry, orthanc: Orthanc, limits: Limits, selection: SelectionLimits) -> Chosen:
    """Choose the series by the rules of the application, on headers alone.

    Raises:
        IneligibleError: no series may be analysed.
        FinalError: the study is larger than the limits of the gateway.
    """
    candidates = {series.uid: series for series in _ct_series(study)}
    if sum(len(series.instances) for series in candidates.values()) > limits.max_instances:
        raise FinalError("TOO_MANY_INSTANCES")
    headers = (header for uid in candidates for header in orthanc.headers(study.uid, uid))
    try:
        found = select_series(scan_headers(headers), selection)
    except NoDicomError:
        raise IneligibleError("NO_IMAGE") from None
    if found.chosen is None:
        codes = (reason.code for verdict in found.verdicts for reason in verdict.reasons)
        raise IneligibleError(" ".join(dict.fromkeys(codes)))
    series = candidates[found.chosen.series_uid]
    if orthanc.n_bytes(series.id) > limits.max_bytes:
        raise FinalError("TOO_MANY_BYTES")
    return Chosen(series, _digest(series.instances))


def has_images(study: StudyEntry) -> bool:
    """Return whether a study holds CT images, not just results of them."""
    return any(series.instances for series in _ct_series(study))


def _ct_series(study: StudyEntry) -> list[SeriesEntry]:
    return [series for series in study.series if series.modality == _MODALITY]


def _digest(instances: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(instances).encode()).hexdigest()


def _priority(study: StudyEntry, instances: list[str], orthanc: Orthanc, settings: PrioritySettings) -> int:
    if (
        instances
        and settings.stat_called_aets
        and orthanc.called_aet(instances[0]) in settings.stat_called_aets
    ):
        return STAT
    try:
        age = date.today() - datetime.strptime(study.study_date, "%Y%m%d").date()
    except ValueError:
        return ROUTINE
    return RECENT if age <= timedelta(days=settings.recent_days) else ROUTINE
