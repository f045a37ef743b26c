"""Runs all threads of the gateway, from the start to the drain."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lungct.settings import Settings, read_settings
from lungct_services.deidentify.pseudonyms import KEY_FILE, pseudonyms_of
from lungct_services.gateway.feed import Feed
from lungct_services.gateway.jobs import GatewayJobs
from lungct_services.gateway.logs import described, log
from lungct_services.gateway.metrics import Metrics
from lungct_services.gateway.orthanc import Orthanc
from lungct_services.gateway.outcomes import SPOOL, Outcomes
from lungct_services.gateway.processing import Processor
from lungct_services.gateway.sending import Sender
from lungct_services.gateway.settings import GatewaySettings
from lungct_services.gateway.web import serve
from lungct_services.jobs.queue import Job
from lungct_services.runners.processes import Runner, RunnerSettings, make_runner
from lungct_services.runners.protection import hide_memory

_IDLE_S = 1.0


class Service:
    """The gateway.

    Attributes:
        stopping: set where no new work is begun.
        ending: set where running work is ended.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        runner_factory: Callable[[RunnerSettings, Path], Runner] = make_runner,
    ) -> None:
        """Open the state and take it over.

        Args:
            settings: settings of the gateway.
            runner_factory: makes the runner of each worker thread; gets the file that it may log to.

        Raises:
            SettingsError: settings, state or secrets cannot be used.
        """
        self.settings = settings
        self.stopping, self.ending = threading.Event(), threading.Event()
        self.jobs = GatewayJobs(settings.state_dir)
        self.jobs.take_over()
        self.metrics = Metrics(self.jobs)
        self._outcomes = Outcomes(settings, self.jobs, self.metrics, self.ending)
        pseudonyms = pseudonyms_of(settings.state_dir / KEY_FILE)
        self.feed = Feed(settings, self.jobs, Orthanc(settings.orthanc), pseudonyms, self.metrics)
        self._runners = [
            runner_factory(settings.runner, settings.state_dir / f"analysis-{number}.log")
            for number in range(1, settings.runner.workers + 1)
        ]
        analysis = settings.runner.settings
        self._selection = (read_settings(analysis) if analysis else Settings()).selection

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, then let running analyses end."""
        hide_memory()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        self._clear_spool()
        workers = [
            threading.Thread(target=self._analyse, args=(runner,), name=f"worker-{number}")
            for number, runner in enumerate(self._runners, start=1)
        ]
        workers.append(threading.Thread(target=self._send, name="sender"))
        follower = threading.Thread(target=self.feed.follow, args=(self.stopping,), name="feed")
        with serve(self):
            log.info("started", workers=len(self._runners))
            for thread in (follower, *workers):
                thread.start()
            self.stopping.wait()
            self._drain(workers)
            follower.join()
        self.jobs.close()
        log.info("stopped")

    @property
    def is_ready(self) -> bool:
        """Return whether Orthanc answers and new studies are taken."""
        return bool(self.feed.is_connected) and not self.stopping.is_set()

    def _analyse(self, runner: Runner) -> None:
        orthanc = Orthanc(self.settings.orthanc, self.stopping)
        processor = Processor(self.settings, self._selection, self.jobs, orthanc, runner, self._outcomes)
        claim = partial(self.jobs.claim, head_start_s=self.settings.priority.head_start_s)
        self._work(claim, processor.process)

    def _send(self) -> None:
        sender = Sender(self.settings, self.jobs, Orthanc(self.settings.orthanc), self._outcomes)
        self._work(partial(self.jobs.claim, sending=True), sender.process)

    def _work(self, claim: Callable[[], Job | None], process: Callable[[Job], None]) -> None:
        while not self.stopping.is_set():
            try:
                job = claim()
                if job is None:
                    self.stopping.wait(_IDLE_S)
                else:
                    process(job)
            except Exception as error:  # the database is away; a thread that ends would stop all work
                log.critical("unforeseen", **described(error))
                self.stopping.wait(_IDLE_S)

    def _drain(self, workers: list[threading.Thread]) -> None:
        log.info("draining", at_most_s=self.settings.drain_s)
        give_up = threading.Timer(self.settings.drain_s, self._end_runs)
        give_up.start()
        for worker in workers:
            worker.join()
        give_up.cancel()
        self._end_runs()

    def _end_runs(self) -> None:
        self.ending.set()
        for runner in self._runners:
            runner.stop()

    def _clear_spool(self) -> None:
        """Remove folders of jobs that are at an end."""
        spool: Path = self.settings.state_dir / SPOOL
        spool.mkdir(mode=0o700, exist_ok=True)
        open_jobs = self.jobs.open_ids()
        for folder in spool.iterdir():
            if folder.name not in open_jobs:
                shutil.rmtree(folder, ignore_errors=True)
