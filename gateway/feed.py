"""Follows Orthanc's change feed and makes a job of every study that is complete."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from gateway.errors import FinalError, StepError
from gateway.jobs import Jobs
from gateway.logs import described, log
from gateway.metrics import Metrics
from gateway.orthanc import Change, Orthanc, Page
from gateway.pseudonyms import Pseudonyms
from gateway.records import Arrival
from gateway.screening import arrival_of
from gateway.settings import GatewaySettings

SETTLED_S = 120.0
"""After that a study that began to come is asked for. By default Orthanc calls it stable after 60 s of
silence, but forgets to where it was restarted meanwhile."""


@dataclass(eq=False)
class Feed:
    """Reads the feed until it is told to stop.

    Attributes:
        is_connected: Orthanc answered the last question.
    """

    settings: GatewaySettings
    jobs: Jobs
    orthanc: Orthanc
    pseudonyms: Pseudonyms
    metrics: Metrics
    is_connected: bool = False

    def follow(self, stopping: threading.Event) -> None:
        """Read and wait, in turns."""
        while not stopping.is_set():
            try:
                is_complete = self.step()
                self._note_connection(is_connected=True)
            except StepError as error:
                self._note_connection(is_connected=False, reason=error.code)
                is_complete = True
            except Exception as error:
                log.error("unforeseen", **described(error))
                is_complete = True
            if is_complete:
                stopping.wait(self.settings.orthanc.poll_s)

    def step(self) -> bool:
        """Read one page; true where it was the last one.

        Raises:
            StepError: Orthanc does not answer as it should; the same page is read next time.
        """
        page = self.orthanc.changes(self._since())
        arrivals = {
            change.resource: arrival
            for change in page.changes
            if change.kind == "StableStudy" and (arrival := self._arrival(change.resource))
        }
        if page.changes:
            self.jobs.advance(page.changes[-1].sequence, list(arrivals.values()), self._begun(page))
        for arrival in arrivals.values():
            log.info("complete", study=arrival.pseudonym, priority=arrival.priority)
        if page.is_last:
            self._ask_for_forgotten()
        self.metrics.feed_read.set_to_current_time()
        return page.is_last

    def _since(self) -> int:
        """Where to go on; from the beginning where Orthanc was set up anew and counts from 1 again."""
        last = self.orthanc.last_sequence()
        known = self.jobs.sequence()
        if known is None:
            known = last if self.settings.orthanc.first_start == "now" else 0
            self.jobs.advance(known)
        return known if known <= last else 0

    def _arrival(self, study_id: str) -> Arrival | None:
        try:
            study = self.orthanc.study(study_id)
            return arrival_of(study, self.orthanc, self.pseudonyms, self.settings.priority)
        except FinalError:
            return None  # deleted since

    def _begun(self, page: Page) -> list[str]:
        complete = {change.resource for change in page.changes if change.kind == "StableStudy"}
        return [
            study for change in page.changes if (study := self._study_of(change)) and study not in complete
        ]

    def _study_of(self, change: Change) -> str | None:
        try:
            match change.kind:
                case "NewStudy":
                    return change.resource
                case "NewSeries":
                    return self.orthanc.study_of("series", change.resource)
                case "NewInstance":
                    return self.orthanc.study_of("instances", change.resource)
        except FinalError:
            return None  # deleted since
        return None

    def _ask_for_forgotten(self) -> None:
        for study_id in self.jobs.watched(before=time.time() - SETTLED_S):
            arrival = self._arrival(study_id)
            if arrival is None:
                self.jobs.forget(study_id)
            elif self.orthanc.study(study_id).is_stable:
                self.jobs.advance(self.jobs.sequence() or 0, [arrival])

    def _note_connection(self, *, is_connected: bool, reason: str = "") -> None:
        if is_connected != self.is_connected:
            (log.info if is_connected else log.error)(
                "connected" if is_connected else "disconnected", reason=reason
            )
        self.is_connected = is_connected
        self.metrics.orthanc_up.set(is_connected)
