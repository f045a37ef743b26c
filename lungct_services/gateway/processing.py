"""Analyses studies: screens, fetches and runs them, and keeps the results until they are sent."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from pydicom import dcmread

from lungct.file_names import RESULT_FILE
from lungct.settings import SelectionLimits
from lungct_services.gateway.jobs import GatewayJobs
from lungct_services.gateway.logs import log
from lungct_services.gateway.orthanc import Orthanc
from lungct_services.gateway.outcomes import Outcomes
from lungct_services.gateway.screening import digest, screen
from lungct_services.gateway.settings import GatewaySettings
from lungct_services.jobs.errors import FinalError, TransientError, Unreachable
from lungct_services.jobs.queue import Job, State
from lungct_services.runners.processes import Runner

_ATTEMPTS_OF_A_CRASH = 3
"""Times that a job may bring down the whole service, beyond the attempts of the settings; own decision."""


@dataclass(frozen=True, eq=False)
class Processor:
    """Analyses studies in one worker thread, to which ``orthanc`` and ``runner`` belong."""

    settings: GatewaySettings
    selection: SelectionLimits
    jobs: GatewayJobs
    orthanc: Orthanc
    runner: Runner
    outcomes: Outcomes

    def process(self, job: Job) -> None:
        """Analyse the study of an active job, and give the job back."""
        with self.outcomes.settle(job):
            self._analyse(job)

    def _analyse(self, job: Job) -> None:
        """Analyse the study; once results are on disk the job is one to send."""
        if job.attempts > self.settings.retry.max_attempts + _ATTEMPTS_OF_A_CRASH:
            raise FinalError("SERVICE_DIED")
        if self.jobs.n_versions(job.study) > self.settings.limits.max_versions:
            raise FinalError("TOO_MANY_VERSIONS")
        study = self.orthanc.study(job.study)
        if not study.is_stable:
            raise Unreachable("STILL_COMING")
        series = screen(study, self.orthanc, self.settings.limits, self.selection)
        instances = [instance for one in series for instance in one.instances]
        if not self.jobs.note_content(job, digest(instances)):
            raise FinalError("UNCHANGED", State.DONE)
        self._run(job, instances)
        uids = [
            dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID
            for path in self.outcomes.objects(job)
        ]
        if not uids:
            raise FinalError("NO_DICOM_RESULTS")
        self.jobs.begin_sending(job, uids)

    def _run(self, job: Job, instances: list[str]) -> None:
        """Analyse in a folder that nobody else knows, also no orphan of a killed service."""
        folder = self.outcomes.folder(job)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        run = Path(mkdtemp(dir=folder))
        (run / "results").mkdir()
        (run / "study").mkdir()
        for number, instance in enumerate(instances, start=1):
            self.orthanc.download(instance, run / "study" / f"{number:05d}.dcm")
        log.info("analysing", study=job.pseudonym, images=len(instances), attempt=job.attempts)
        with self.outcomes.metrics.analysis_s.time():
            self.runner.run(run / "study", run / "results", f"lungct-{job.pseudonym}-{job.attempts}")
        _check_result(run / "results" / RESULT_FILE)
        (run / "results").rename(folder / "results")
        _settle(folder / "results")
        shutil.rmtree(run)


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
            raise FinalError(reason["code"], State.INELIGIBLE)
        case "bad_input":
            raise FinalError(reason["code"])
    raise TransientError(reason["code"])
