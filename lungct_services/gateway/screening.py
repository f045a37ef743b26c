"""Judges a study by its headers, before anything is fetched: version, urgency, and choice of the series."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from itertools import accumulate

from lungct.dicom_read.scan import scan_headers
from lungct.dicom_read.selection import select_series
from lungct.errors import NoDicomError
from lungct.settings import SelectionLimits
from lungct_services.deidentify.pseudonyms import Pseudonyms
from lungct_services.gateway.entries import SeriesEntry, StudyEntry
from lungct_services.gateway.orthanc import Orthanc
from lungct_services.gateway.settings import Limits, PrioritySettings
from lungct_services.jobs.errors import FinalError
from lungct_services.jobs.queue import Arrival, State

STAT, RECENT, ROUTINE = 0, 1, 2


def arrival_of(
    study: StudyEntry, orthanc: Orthanc, pseudonyms: Pseudonyms, settings: PrioritySettings
) -> Arrival:
    """Return a complete study as a job to do."""
    instances = sorted(instance for series in study.ct_series for instance in series.instances)
    return Arrival(
        study=study.id,
        pseudonym=pseudonyms.name(study.id),
        version=digest(instances) if instances else "",
        priority=_priority(study, instances, orthanc, settings),
    )


def screen(
    study: StudyEntry, orthanc: Orthanc, limits: Limits, selection: SelectionLimits
) -> list[SeriesEntry]:
    """Return the series that may be analysed by their headers, best first, as many as the limits allow.

    Which of them shows the lungs whole is seen on their pixels, by the application.

    Raises:
        FinalError: no series may be analysed, or the study is larger than the limits of the gateway.
    """
    candidates = {series.uid: series for series in study.ct_series}
    if sum(len(series.instances) for series in candidates.values()) > limits.max_instances:
        raise FinalError("TOO_MANY_INSTANCES")
    headers = (header for uid in candidates for header in orthanc.headers(study.uid, uid))
    try:
        found = select_series(scan_headers(headers), selection)
    except NoDicomError:
        raise FinalError("NO_IMAGE", State.INELIGIBLE) from None
    if found.chosen is None:
        codes = (reason.code for verdict in found.verdicts for reason in verdict.reasons)
        raise FinalError(" ".join(dict.fromkeys(codes)), State.INELIGIBLE)
    uids = dict.fromkeys(verdict.series.series_uid for verdict in found.verdicts if verdict.eligible)
    eligible = [candidates[uid] for uid in uids]
    sizes = accumulate(orthanc.n_bytes(series.id) for series in eligible)
    fitting = [series for series, n_bytes in zip(eligible, sizes, strict=True) if n_bytes <= limits.max_bytes]
    if not fitting:
        raise FinalError("TOO_MANY_BYTES")
    return fitting


def digest(instances: Iterable[str]) -> str:
    """Return the digest of images, by which versions of a study are told apart."""
    return hashlib.sha256("\n".join(instances).encode()).hexdigest()


def _priority(study: StudyEntry, instances: list[str], orthanc: Orthanc, settings: PrioritySettings) -> int:
    aets = settings.stat_called_aets
    if aets and instances and orthanc.called_aet(instances[0]) in aets:
        return STAT
    try:
        age = date.today() - datetime.strptime(study.study_date, "%Y%m%d").date()
    except ValueError:
        return ROUTINE
    return RECENT if age <= timedelta(days=settings.recent_days) else ROUTINE
