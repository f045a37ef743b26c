"""Follows Orthanc's change feed and makes a job of every study that is complete."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import dataclass

from lungct_services.deidentify.pseudonyms import Pseudonyms
from lungct_services.gateway.entries import Change, Page
from lungct_services.gateway.jobs import NOT_SEEN_BEFORE, GatewayJobs
from lungct_services.gateway.logs import described, log
from lungct_services.gateway.metrics import Metrics
from lungct_services.gateway.orthanc import PAGE_SIZE, Orthanc
from lungct_services.gateway.screening import arrival_of
from lungct_services.gateway.settings import GatewaySettings
from lungct_services.jobs.errors import FinalError, StepError, TransientError
from lungct_services.jobs.queue import Arrival

_DAY_S = 24 * 3600.0
_HINTS = defaultdict(
    lambda: "see Orthanc's own log",
    ORTHANC_UNREACHABLE="start Orthanc, or correct orthanc.url",
    ORTHANC_CERTIFICATE="name the certificate that vouches for Orthanc in orthanc.ca_file",
    ORTHANC_REFUSES="name a user and a password that stand in Orthanc's RegisteredUsers",
    ORTHANC_TIMEOUT="raise orthanc.timeout_s, or find out why Orthanc is slow",
    ORTHANC_BUSY="nothing: it said how long to wait",
    FRONT_END="this is no answer of Orthanc: correct orthanc.url, or the proxy in front of it",
)
SETTLED_S = 120.0
"""Time after which a study that began to come is asked for; own decision. By default Orthanc calls it stable
after 60 s of silence, but forgets to where it was restarted meanwhile."""


@dataclass(eq=False)
class Feed:
    """Reads the feed until it is told to stop.

    Attributes:
        is_connected: Orthanc answered the last question; None before the first one.
        trouble: code of the reason why it did not.
        next_prune: when old jobs are forgotten next.
    """

    settings: GatewaySettings
    jobs: GatewayJobs
    orthanc: Orthanc
    pseudonyms: Pseudonyms
    metrics: Metrics
    is_connected: bool | None = None
    trouble: str = ""
    next_prune: float = 0.0

    def follow(self, stopping: threading.Event) -> None:
        """Read and wait, in turns."""
        while not stopping.is_set():
            try:
                pause_s = self.settings.orthanc.poll_s if self.step() else 0.0
                self._note_connection("")
            except StepError as error:
                self._note_connection(error.code)
                pause_s = max(self.settings.orthanc.poll_s, getattr(error, "wait_s", 0.0))
            except Exception as error:
                log.error("unforeseen", **described(error))
                pause_s = self.settings.orthanc.poll_s
            stopping.wait(min(pause_s, self.settings.retry.cap_s))

    def step(self) -> bool:
        """Read one page; return whether it was the last one.

        Raises:
            StepError: Orthanc does not answer as it should; the same page is read next time.
        """
        page = self.orthanc.changes(self._since())
        arrivals, begun = self._read(page)
        if page.changes:
            anew = [change.resource for change in page.changes if change.kind == "NewStudy"]
            self.jobs.advance(page, arrivals.values(), sorted(begun), anew)
        for arrival in arrivals.values():
            log.info("complete", study=arrival.pseudonym, priority=arrival.priority)
        if page.is_last:
            self._ask_for_forgotten()
            self._prune()
        self.metrics.feed_read.set_to_current_time()
        return page.is_last

    def _since(self) -> int:
        """Return where to go on: in another database of Orthanc behind its end, after a look through all."""
        known = self.jobs.sequence()
        if known is None and self.settings.orthanc.first_start == "beginning":
            known = 0
        if known is None:
            self.jobs.start_anew(last := self.orthanc.last_changes(), [])
            return last.last
        if not self._is_same_database(known):
            last = self.orthanc.last_changes()
            studies = list(self.orthanc.study_ids())
            self.jobs.start_anew(last, studies)
            log.warning("other_database", studies=len(studies))
            return last.last
        return known

    def _is_same_database(self, known: int) -> bool:
        """Return whether Orthanc still knows a change that was read.

        Its sequence numbers do not tell: those of a database that was set up anew may be past the old ones.
        """
        seen = self.jobs.seen()
        if not seen:
            return known <= self.orthanc.last_changes().last
        return any(change in self.orthanc.changes(change.sequence - 1, 1).changes for change in seen)

    def _read(self, page: Page) -> tuple[dict[str, Arrival], set[str]]:
        """Return complete studies, and those that images came for since; one odd study stops no other."""
        arrivals: dict[str, Arrival] = {}
        begun: set[str] = set()
        for change in page.changes:
            try:
                if change.kind == "StableStudy":
                    arrivals[change.resource] = self._arrival(change.resource)
                    begun.discard(change.resource)
                elif (study := self._study_of(change)) is not None:
                    begun.add(study)
            except FinalError:  # deleted since
                continue
            except TransientError as error:
                log.warning("asked_later", study=self.pseudonyms.name(change.resource), reason=error.code)
                begun |= {change.resource} if change.kind == "StableStudy" else set()
        return arrivals, begun

    def _arrival(self, study_id: str) -> Arrival:
        study = self.orthanc.study(study_id)
        return arrival_of(study, self.orthanc, self.pseudonyms, self.settings.priority)

    def _study_of(self, change: Change) -> str | None:
        match change.kind:
            case "NewStudy":
                return change.resource
            case "NewSeries":
                return self.orthanc.study_of("series", change.resource)
            case "NewInstance":
                return self.orthanc.study_of("instances", change.resource)
        return None

    def _ask_for_forgotten(self) -> None:
        """Look at some studies that were never reported complete, the oldest first."""
        for study_id, since in self.jobs.watched(self.jobs.now() - SETTLED_S, PAGE_SIZE):
            try:
                if self.orthanc.study(study_id).is_stable:
                    is_lost = since == NOT_SEEN_BEFORE and self._has_lost_results(study_id)
                    self.jobs.arrive(self._arrival(study_id), is_anew=is_lost)
                else:
                    self.jobs.watch_longer(study_id)
            except FinalError:
                self.jobs.forget(study_id)
            except TransientError:
                self.jobs.watch_longer(study_id)

    def _has_lost_results(self, study_id: str) -> bool:
        uids = self.jobs.results(study_id)
        return bool(uids) and all(self.orthanc.find_instance(uid) is None for uid in uids)

    def _prune(self) -> None:
        """Forget jobs that ended long ago, once a day."""
        if self.jobs.now() < self.next_prune:
            return
        self.next_prune = self.jobs.now() + _DAY_S
        n_jobs = self.jobs.prune(time.time() - self.settings.keep_days * _DAY_S)
        if n_jobs:
            log.info("pruned", jobs=n_jobs)

    def _note_connection(self, reason: str) -> None:
        """Log that Orthanc answers, or why it does not and what to do, whenever that changes.

        Args:
            reason: empty where it answers.
        """
        if reason and (self.is_connected is not False or reason != self.trouble):
            hint = _HINTS["FRONT_END" if reason.startswith("FRONT_END") else reason]
            log.error("disconnected", reason=reason, hint=hint)
        if not reason and not self.is_connected:
            log.info("connected")
        self.is_connected, self.trouble = not reason, reason
        self.metrics.orthanc_up.set(self.is_connected)
