"""Brings results from the disk into Orthanc, and from there to the destinations."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import dcmread

from lungct_services.gateway.jobs import GatewayJobs
from lungct_services.gateway.logs import log
from lungct_services.gateway.orthanc import Orthanc
from lungct_services.gateway.outcomes import Outcomes
from lungct_services.gateway.settings import Destination, GatewaySettings
from lungct_services.jobs.errors import FinalError, TransientError
from lungct_services.jobs.queue import Job, State

_POLL_S = 2.0
"""Pause between two looks at what Orthanc is sending; own decision."""


@dataclass(frozen=True, eq=False)
class Sender:
    """Brings results on as far as they go at once, and never waits for a destination."""

    settings: GatewaySettings
    jobs: GatewayJobs
    orthanc: Orthanc
    outcomes: Outcomes

    def process(self, job: Job) -> None:
        """Take an active job further, and give it back."""
        with self.outcomes.settle(job):
            ids = self._store(job)
            self._remove_outdated(job)
            if self._deliver(job, ids):
                self.outcomes.end(job, State.DONE)
            else:
                pause_s = min(self.settings.retry.base_s, _POLL_S)
                self.jobs.give_back(job, State.SENDING, "", pause_s, counted=False)

    def _store(self, job: Job) -> list[str]:
        """Give Orthanc the results that it does not have; return the IDs of all.

        Raises:
            FinalError: the images were deleted, so nobody wants the results. They carry the patient's name.
            TransientError: there are no results on disk.
        """
        self._check_images(job, [])
        ids, stored = [], []
        for path in self.outcomes.objects(job):
            uid = str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
            if (instance := self.orthanc.find_instance(uid)) is None:
                instance = self.orthanc.store(path)
                stored.append(instance)
            ids.append(instance)
        if not ids:
            raise TransientError("RESULTS_LOST")
        if stored:
            self._check_images(job, stored)
        return ids

    def _check_images(self, job: Job, stored: list[str]) -> None:
        """Raise if the images of the study are gone, and take back what was stored meanwhile."""
        if any(series.instances for series in self.orthanc.study(job.study).ct_series):
            return
        for instance in stored:
            self.orthanc.delete(instance)
        raise FinalError("GONE")

    def _remove_outdated(self, job: Job) -> None:
        for uid in self.jobs.outdated_results(job.study):
            if (instance := self.orthanc.find_instance(uid)) is not None:
                self.orthanc.delete(instance)
            self.jobs.removed(uid)

    def _deliver(self, job: Job, ids: list[str]) -> bool:
        """Start and watch the transfers to all destinations; return whether all have the results.

        Raises:
            TransientError: a transfer failed, or takes too long.
        """
        delivered = self.jobs.deliveries(job)
        missing = [one for one in self.settings.destinations if one.name not in delivered]
        states = {one.name: self._take_further(job, one, ids) for one in missing}
        failed = [name for name, state in states.items() if state == "failed"]
        if failed:
            raise TransientError(f"DESTINATION_{failed[0]}")
        return all(state == "done" for state in states.values())

    def _take_further(self, job: Job, destination: Destination, ids: list[str]) -> str:
        known = self.jobs.transfer(job, destination.name)
        try:
            transfer, begun = known or (self.orthanc.start_sending(destination, ids), self.jobs.now())
            if known is None:
                self.jobs.note_transfer(job, destination.name, transfer, begun)
            state = self.orthanc.sending_state(transfer)
        except TransientError as error:
            log.warning("not_delivered", study=job.pseudonym, destination=destination.name, reason=error.code)
            return "failed"
        if state == "pending" and self.jobs.now() - begun > self.settings.retry.delivery_s:
            self.orthanc.cancel_sending(transfer)
            state = "failed"
        if state == "failed":
            self.jobs.drop_transfer(job, destination.name)
            log.warning("not_delivered", study=job.pseudonym, destination=destination.name, reason="NOT_SENT")
        if state == "done":
            self.jobs.delivered(job, destination.name)
        return state
