"""Gives jobs their new states when a step of them ends, well or not."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lungct.file_names import DICOM_FOLDER
from lungct_services.gateway.jobs import GatewayJobs
from lungct_services.gateway.logs import described, log
from lungct_services.gateway.metrics import Metrics
from lungct_services.gateway.settings import GatewaySettings
from lungct_services.jobs.errors import FinalError, TransientError, Unreachable
from lungct_services.jobs.queue import Job, State

SPOOL = "spool"
_SHORT_PAUSE_S = 10.0
"""Pause of a job that nobody is to blame for: Orthanc is away or images are still coming; own decision."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Gives jobs back with their new states.

    Attributes:
        ending: set when the service ends, so that an interrupted run counts for nobody.
    """

    settings: GatewaySettings
    jobs: GatewayJobs
    metrics: Metrics
    ending: threading.Event

    @contextmanager
    def settle(self, job: Job) -> Iterator[None]:
        """Turn an error of the block into a new state of the job."""
        try:
            yield
        except FinalError as error:
            self.end(job, error.state, error.code)
        except Unreachable as error:
            self._later(job, error.code, wait_s=error.wait_s, counted=False)
        except TransientError as error:
            self._later(job, error.code, counted=not self.ending.is_set())
        except Exception as error:
            log.error("unforeseen", study=job.pseudonym, **described(error))
            self._later(job, described(error)["error"])
        finally:
            self.jobs.let_go(job)

    def end(self, job: Job, state: State, reason: str = "") -> None:
        """Bring a job to its end, and remove its files."""
        self.jobs.give_back(job, state, reason)
        shutil.rmtree(self.folder(job), ignore_errors=True)
        waited_s = max(0.0, time.time() - job.arrived)
        self.metrics.wait_s.labels(state).observe(waited_s)
        log.info("ended", study=job.pseudonym, state=state, reason=reason, waited_s=round(waited_s, 1))

    def folder(self, job: Job) -> Path:
        """Return the folder of a job in the state folder."""
        return self.settings.state_dir / SPOOL / str(job.id)

    def objects(self, job: Job) -> list[Path]:
        """Return the DICOM results of a job that are on disk."""
        return sorted((self.folder(job) / "results" / DICOM_FOLDER).glob("*.dcm"))

    def _later(self, job: Job, reason: str, wait_s: float = 0.0, *, counted: bool = True) -> None:
        """Put the job back, or give it up; what is half sent stays so."""
        retry, state, limit = self.settings.retry, State.QUEUED, self.settings.retry.max_attempts
        if job.state is State.SENDING and self.objects(job):
            state, limit = State.SENDING, retry.max_deliveries
        if counted and job.attempts >= limit:
            self.end(job, State.FAILED, reason)
            return
        pause = retry.pause_s(job.attempts) if counted else min(retry.base_s, _SHORT_PAUSE_S)
        pause = max(pause, min(wait_s, retry.cap_s))
        self.jobs.give_back(job, state, reason, pause, counted=counted)
        self.metrics.tried_again.labels(reason).inc()
        log.warning("later", study=job.pseudonym, state=state, reason=reason, pause_s=round(pause, 1))
