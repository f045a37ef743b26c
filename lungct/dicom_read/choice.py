"""The series that is analysed: chosen by the rules for headers, then by what a dozen slices show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lungct.dicom_read.look import Look, look_at
from lungct.dicom_read.selection import (
    DEFAULT_LIMITS,
    accept,
    geometry_problem,
    latest_study_first,
    select_series,
    study_dates,
)
from lungct.records import Reason, Scan, Selection, SeriesVerdict
from lungct.settings import SelectionLimits

LOSS_STEP = 0.2
"""Of the most lung that any series of the day shows: cut lungs that lose less than that more are alike."""


@dataclass(frozen=True)
class _Candidate:
    """A series that the rules for headers allow, and what its slices show, None where unreadable."""

    verdict: SeriesVerdict
    look: Look | None


def choose_series(
    scan: Scan,
    limits: SelectionLimits = DEFAULT_LIMITS,
    series_uid: str | None = None,
    accepted: frozenset[str] = frozenset(),
) -> Selection:
    """Judge every series by its headers, look at a dozen slices of each that is eligible, and rank them.

    The order is: lungs before none; of one patient, later studies before earlier ones; slices that form a
    grid before others; whole lungs before cut ones, and of these more before less; inspiration before
    expiration; then that of :func:`lungct.dicom_read.selection.select_series`. A series that
    shows only an end or the middle of the lungs is not eligible.

    Args:
        scan: what the folder holds.
        limits: of what may be analysed.
        series_uid: the only series that may be analysed.
        accepted: codes of broken rules that do not exclude a series.

    Raises:
        NoDicomError: the scan found no DICOM image.
    """
    by_headers = select_series(scan, limits, series_uid, accepted)
    allowed = [verdict for verdict in by_headers.verdicts if verdict.eligible]
    looks = look_at([verdict.series for verdict in allowed])
    seen = [_with_look(verdict, look, accepted) for verdict, look in zip(allowed, looks, strict=True)]
    candidates = [one for one in seen if one.verdict.eligible]
    candidates = [_with_breath(one, candidates) for one in candidates]
    latest_first = latest_study_first(scan)
    candidates = sorted(
        candidates,
        key=lambda one: (
            one.look is not None and not one.look.shows_lungs,
            latest_first(one.verdict.series),
            one.look is None or geometry_problem(one.verdict.series) is not None,
            _lung_lost(one, candidates),
            _is_expiration(one.verdict),
        ),
    )
    ranked = [replace(one.verdict, rank=rank) for rank, one in enumerate(candidates, start=1)]
    refused = [one.verdict for one in seen if not one.verdict.eligible]
    others = [verdict for verdict in by_headers.verdicts if not verdict.eligible]
    return replace(
        by_headers,
        verdicts=(*ranked, *refused, *others),
        study_dates_seen=study_dates(scan, ranked),
        accepted_codes=ranked[0].accepted_codes if ranked else (),
    )


def _with_look(verdict: SeriesVerdict, look: Look | None, accepted: frozenset[str]) -> _Candidate:
    """Add what the look says for and against a series to its verdict."""
    if look is None:
        reason = Reason("SLICES_UNREADABLE", "too few of the slices looked at can be decoded and placed")
        return _Candidate(replace(verdict, preferences=(reason, *verdict.preferences)), None)
    verdict = accept(replace(verdict, reasons=tuple(look.reasons_against())), accepted=accepted)
    if not verdict.eligible:
        return _Candidate(replace(verdict, rank=None, preferences=()), look)
    told = {preference.code for preference in verdict.preferences}
    shown = (reason for reason in look.preferences() if reason.code not in told)
    return _Candidate(replace(verdict, preferences=(*shown, *verdict.preferences)), look)


def _with_breath(one: _Candidate, candidates: Sequence[_Candidate]) -> _Candidate:
    """Say that it is an expiration where another whole chest of the day is larger and less dense."""
    fuller = (
        one.look is not None and other.look is not None and one.look.is_expiration_beside(other.look)
        for other in _of_same_day(one, candidates)
        if other.look is not None and not other.look.is_cut
    )
    if one.look is None or one.look.is_cut or _is_expiration(one.verdict) or not any(fuller):
        return one
    reason = Reason("EXPIRATION", "smaller and denser lungs than in another series of the day: breathed out")
    return replace(one, verdict=replace(one.verdict, preferences=(reason, *one.verdict.preferences)))


def _is_expiration(verdict: SeriesVerdict) -> bool:
    return any(preference.code == "EXPIRATION" for preference in verdict.preferences)


def _lung_lost(one: _Candidate, candidates: Sequence[_Candidate]) -> int:
    """Grade how much of the lungs is missing: 0 where they are whole or were not seen, else 1 and more."""
    if one.look is None or not one.look.is_cut:
        return 0
    looks = [other.look for other in _of_same_day(one, candidates)]
    most_ml = max(look.lung_ml for look in looks if look is not None)
    return 1 + int((1.0 - one.look.lung_ml / max(most_ml, 1.0)) / LOSS_STEP)


def _of_same_day(one: _Candidate, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Return the series of the same patient and study date, itself included."""
    day = one.verdict.series.patient, one.verdict.series.study_date
    return [
        other
        for other in candidates
        if (other.verdict.series.patient, other.verdict.series.study_date) == day
    ]
