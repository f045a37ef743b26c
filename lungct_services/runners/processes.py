"""Runs analyses in other processes, one study at a time and never through a shell."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

from pydantic import PositiveFloat, PositiveInt, model_validator

from lungct_services.jobs.errors import TransientError
from lungct_services.runners.protection import harmless_environment, limit_memory
from lungct_services.settings import Section

WORKER = "lungct_services.runners.worker"
_GRACE_S = 10.0
"""Seconds between the request to end and the end by force; own decision."""


class RunnerSettings(Section):
    """How studies are analysed: the section ``runner`` of the settings.

    Attributes:
        kind: ``in_process``: a worker process that stays warm; ``command``: the program in ``argv``.
        argv: a program and its arguments; ``{input}``, ``{output}`` and ``{name}`` are filled in. No shell.
        workers: studies that are analysed at the same time.
        timeout_s: a longer run is ended and counts as failed.
        memory_gib: a process that asks for more runs out of memory.
        studies_per_worker: a worker process is renewed after so many studies, against leaks.
        models: folder of the weights; those that come with the package where None.
        settings: an ``app.yaml`` of the analysis; defaults where None.
    """

    kind: Literal["in_process", "command"] = "in_process"
    argv: tuple[str, ...] = ()
    workers: PositiveInt = 1
    timeout_s: PositiveFloat = 1800.0
    memory_gib: PositiveFloat = 16.0
    studies_per_worker: PositiveInt = 50
    models: Path | None = None
    settings: Path | None = None

    @model_validator(mode="after")
    def _check_command(self) -> Self:
        if self.kind == "command":
            arguments = " ".join(self.argv)
            if missing := [name for name in ("{input}", "{output}") if name not in arguments]:
                raise ValueError(f"argv must hold {' and '.join(missing)}")
        return self


class Runner(ABC):
    """Analyses one study at a time in another process, which writes its log to a file."""

    def __init__(self, settings: RunnerSettings, log_file: Path) -> None:
        """Start nothing yet."""
        self._settings = settings
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def run(self, study: Path, results: Path, name: str) -> None:
        """Analyse a study; ``result.json`` tells what came of it.

        Args:
            study: folder of the images.
            results: folder for the results.
            name: name of this run, for containers and jobs.

        Raises:
            TransientError: the run did not come to its end.
        """

    def stop(self) -> None:
        """End what runs; may be called from another thread."""
        if self._process is not None:
            end(self._process)

    def _start(self, argv: Sequence[str], pipe: int) -> subprocess.Popen[bytes]:
        """Start a program in a session of its own."""
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the argument list of the site, or our own
                argv,
                stdin=pipe,
                stdout=pipe,
                stderr=log,
                env=harmless_environment(),
                start_new_session=True,
            )
        return self._process


def make_runner(settings: RunnerSettings, log_file: Path) -> Runner:
    """Return the runner that the settings ask for; what it starts writes its log to a file."""
    return (CommandRunner if settings.kind == "command" else WorkerRunner)(settings, log_file)


class CommandRunner(Runner):
    """Starts a program for every study."""

    def run(self, study: Path, results: Path, name: str) -> None:
        """Run the program to its end; its output is dropped, its exit code does not count."""
        places = {"{input}": str(study), "{output}": str(results), "{name}": name}
        argv = [_filled(argument, places) for argument in self._settings.argv]
        try:
            process = self._start(argv, subprocess.DEVNULL)
        except OSError:
            raise TransientError("COMMAND_NOT_STARTED") from None
        try:
            limit_memory(process.pid, self._settings.memory_gib)
            process.wait(self._settings.timeout_s)
        except subprocess.TimeoutExpired:
            raise TransientError("TIMEOUT") from None
        finally:
            end(process)


class WorkerRunner(Runner):
    """Hands studies to a warm worker process, which is started when needed and renewed now and then."""

    def __init__(self, settings: RunnerSettings, log_file: Path, module: str = WORKER) -> None:
        """Start nothing yet.

        Args:
            settings: models and settings of the analysis, and the limits of a worker.
            log_file: receives what the worker writes to standard error.
            module: run as ``python -m MODULE SETTINGS MODELS``, and speaks as ``worker.py`` does.
        """
        super().__init__(settings, log_file)
        self._module = module
        self._n_studies = 0

    def run(self, study: Path, results: Path, name: str) -> None:  # noqa: ARG002 - a worker needs no name
        """Have the worker analyse the study."""
        process = self._worker()
        request = {"input": str(study), "output": str(results)}
        try:
            answer = _ask(process, json.dumps(request).encode() + b"\n", self._settings.timeout_s)
        except (TransientError, OSError) as error:
            self.stop()
            raise error if isinstance(error, TransientError) else TransientError("WORKER_DIED") from None
        if answer:
            raise TransientError(answer)

    def _worker(self) -> subprocess.Popen[bytes]:
        process = self._process
        if process is not None and self._n_studies >= self._settings.studies_per_worker:
            self.stop()
        if process is None or process.poll() is not None:
            places = (self._settings.settings, self._settings.models)
            argv = [sys.executable, "-m", self._module, *(str(place or "") for place in places)]
            process = self._start(argv, subprocess.PIPE)
            limit_memory(process.pid, self._settings.memory_gib)
            self._n_studies = 0
        self._n_studies += 1
        return process


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children: ask first, then by force."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)


def _ask(process: subprocess.Popen[bytes], request: bytes, timeout_s: float) -> str:
    if process.stdin is None or process.stdout is None:
        raise ValueError("the process was started without pipes")
    process.stdin.write(request)
    process.stdin.flush()
    ready, _, _ = select.select([process.stdout], [], [], timeout_s)
    if not ready:
        raise TransientError("TIMEOUT")
    answer = process.stdout.readline()
    if not answer:
        raise TransientError("WORKER_DIED")
    return answer.decode().strip()


def _filled(argument: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        argument = argument.replace(name, value)
    return argument
