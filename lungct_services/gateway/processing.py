"""One job from its claim to its end."""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from pydicom import dcmread

from lungct.file_names import DICOM_FOLDER
from lungct.output import RESULT_FILE
from lungct.settings import SelectionLimits
from lungct_services.gateway.errors import (
    FinalError,
    IneligibleError,
    TransientError,
    UnchangedError,
    Unreachable,
)
from lungct_services.gateway.jobs import Jobs
from lungct_services.gateway.logs import described, log
from lungct_services.gateway.metrics import Metrics
from lungct_services.gateway.orthanc import Orthanc
from lungct_services.gateway.records import Job, State
from lungct_services.gateway.runners import Runner
from lungct_services.gateway.screening import Chosen, screen
from lungct_services.gateway.settings import Destination, GatewaySettings, RetrySettings

SPOOL = "spool"
_SHORT_PAUSE_S = 10.0
"""Where nobody is to blame: Orthanc is away, or images are still coming."""
_ATTEMPTS_OF_A_CRASH = 3
"""Beyond the attempts of the settings: what a job may bring down the whole service."""


@dataclass(frozen=True, eq=False)
class Processor:
    """What a worker thread works with; ``orthanc`` and ``runner`` are its own.

    Attributes:
        ending: set where the service ends, so that an interrupted run is nobody's fault.
    """

    settings: GatewaySettings
    selection: SelectionLimits
    jobs: Jobs
    orthanc: Orthanc
    runner: Runner
    metrics: Metrics
    ending: threading.Event

    def process(self, job: Job) -> None:
        """Bring an active job as far as it goes now, and give it back."""
        try:
            if job.state is State.RUNNING:
                job = self._analyse(job)
            self._send(job)
            self._end(job, State.DONE)
        except UnchangedError as error:
            self._end(job, State.DONE, error.code)
        except IneligibleError as error:
            self._end(job, State.INELIGIBLE, error.code)
        except FinalError as error:
            self._end(job, State.FAILED, error.code)
        except Unreachable as error:
            self._later(job, error.code, counted=False)
        except TransientError as error:
            self._later(job, error.code, counted=not self.ending.is_set())
        except Exception as error:
            log.error("unforeseen", study=job.pseudonym, **described(error))
            self._later(job, described(error)["error"])

    def _analyse(self, job: Job) -> Job:
        """Screen, fetch and run; the job that is sending then."""
        if job.attempts > self.settings.retry.max_attempts + _ATTEMPTS_OF_A_CRASH:
            raise FinalError("SERVICE_DIED")
        if self.jobs.n_versions(job.study) > self.settings.limits.max_versions:
            raise FinalError("TOO_MANY_VERSIONS")
        study = self.orthanc.study(job.study)
        if not study.is_stable:
            raise Unreachable("STILL_COMING")
        chosen = screen(study, self.orthanc, self.settings.limits, self.selection)
        if not self.jobs.note_content(job, chosen.content):
            raise UnchangedError("UNCHANGED")
        self._run(job, chosen)
        uids = [dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID for path in self._objects(job)]
        if not uids:
            raise FinalError("NO_DICOM_RESULTS")
        return self.jobs.begin_sending(job, uids)

    def _run(self, job: Job, chosen: Chosen) -> None:
        """Analyse in a folder that nobody else knows, also no orphan of a killed service."""
        folder = self._folder(job)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        run = Path(mkdtemp(dir=folder))
        (run / "results").mkdir()
        self._fetch(chosen, run / "study")
        log.info("analysing", study=job.pseudonym, images=len(chosen.series.instances), attempt=job.attempts)
        with self.metrics.analysis_s.time():
            self.runner.run(run / "study", run / "results", f"lungct-{job.pseudonym}-{job.attempts}")
        _check_result(run / "results" / RESULT_FILE)
        (run / "results").rename(folder / "results")
        _settle(folder / "results")
        shutil.rmtree(run)

    def _fetch(self, chosen: Chosen, folder: Path) -> None:
        folder.mkdir()
        for number, instance in enumerate(chosen.series.instances, start=1):
            self.orthanc.download(instance, folder / f"{number:05d}.dcm")

    def _send(self, job: Job) -> None:
        """Repeatable at any point: Orthanc ignores what it has, and so does a PACS."""
        ids = [self.orthanc.store(path) for path in self._objects(job)]
        if not ids:
            raise TransientError("RESULTS_LOST")
        for uid in self.jobs.outdated_results(job):
            if (instance := self.orthanc.find_instance(uid)) is not None:
                self.orthanc.delete(instance)
            self.jobs.removed(uid)
        delivered = self.jobs.deliveries(job)
        missing = [
            destination.name
            for destination in self.settings.destinations
            if destination.name not in delivered and not self._deliver(job, destination, ids)
        ]
        if missing:
            raise TransientError(f"DESTINATION_{missing[0]}")

    def _deliver(self, job: Job, destination: Destination, ids: list[str]) -> bool:
        try:
            self.orthanc.send(destination, ids)
        except TransientError as error:
            log.warning("not_delivered", study=job.pseudonym, destination=destination.name, reason=error.code)
            return False
        self.jobs.delivered(job, destination.name)
        return True

    def _objects(self, job: Job) -> list[Path]:
        return sorted((self._folder(job) / "results" / DICOM_FOLDER).glob("*.dcm"))

    def _folder(self, job: Job) -> Path:
        return self.settings.state_dir / SPOOL / str(job.id)

    def _end(self, job: Job, state: State, reason: str = "") -> None:
        self.jobs.give_back(job, state, reason)
        shutil.rmtree(self._folder(job), ignore_errors=True)
        waited_s = time.time() - job.arrived
        self.metrics.wait_s.labels(state).observe(waited_s)
        log.info("ended", study=job.pseudonym, state=state, reason=reason, waited_s=round(waited_s, 1))

    def _later(self, job: Job, reason: str, *, counted: bool = True) -> None:
        """Put the job back, or give it up; what is half sent stays so."""
        retry, state = self.settings.retry, State.QUEUED
        limit = retry.max_attempts
        if job.state is State.SENDING and self._objects(job):
            state, limit = State.SENDING, retry.max_deliveries
        if counted and job.attempts >= limit:
            self._end(job, State.FAILED, reason)
            return
        pause = pause_s(retry, job.attempts) if counted else min(retry.base_s, _SHORT_PAUSE_S)
        self.jobs.give_back(job, state, reason, pause, counted=counted)
        self.metrics.tried_again.labels(reason).inc()
        log.warning("later", study=job.pseudonym, state=state, reason=reason, pause_s=round(pause, 1))


def pause_s(retry: RetrySettings, attempts: int) -> float:
    """Twice as long after every attempt, up to the cap; jittered, so that jobs do not come back together."""
    longest_s = min(retry.cap_s, retry.base_s * 2.0 ** min(attempts - 1, 30))
    return random.uniform(longest_s / 2, longest_s)  # noqa: S311


def _settle(folder: Path) -> None:
    """Have the disk keep a folder: after a power cut the database must not remember results that are gone."""
    for path in (*folder.rglob("*"), folder, folder.parent):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _check_result(path: Path) -> None:
    """Raise unless the study was analysed."""
    try:
        result: dict[str, Any] = json.loads(path.read_bytes())
        status, reason = result["status"], result["reason"]
    except (OSError, ValueError, KeyError, TypeError):
        raise TransientError("NO_RESULT") from None
    match status:
        case "analysed":
            return
        case "no_eligible_series":
            raise IneligibleError(reason["code"])
        case "bad_input":
            raise FinalError(reason["code"])
    raise TransientError(reason["code"])
