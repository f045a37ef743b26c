"""The course of one analysis, for ``result.json`` and for the person who watches."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from lungct.records import Findings, Scan, Selection

logger = logging.getLogger("lungct")

Arguments = ParamSpec("Arguments")
Record = TypeVar("Record")


@dataclass(frozen=True)
class StageEvent:
    """A stage begins or ends.

    Attributes:
        n_stages: how many stages the whole analysis has.
        seconds: how long the stage took; None when it begins.
    """

    name: str
    n_stages: int
    seconds: float | None = None


Watcher = Callable[[StageEvent], None]


class Journal:
    """Collects the records and timings that ``result.json`` needs, whatever stage the analysis reaches.

    Attributes:
        n_stages: how many stages the whole analysis has; shown with the progress.
        scan, selection, findings: None until the stage that makes them has ended.
        timings_s: seconds of every stage begun, by name.
    """

    def __init__(self, watch: Watcher | None = None, n_stages: int = 0) -> None:
        """Start an empty journal.

        Args:
            watch: called when a stage begins and when it ended well, one call at a time, in the thread of the
                stage.
            n_stages: see the attribute.
        """
        self.n_stages = n_stages
        self.timings_s: dict[str, float] = {}
        self.scan: Scan | None = None
        self.selection: Selection | None = None
        self.findings: Findings | None = None
        self._watch = watch
        self._numbers = itertools.count(1)
        self._one_at_a_time = threading.Lock()

    def run(
        self, name: str, step: Callable[Arguments, Record], *args: Arguments.args, **options: Arguments.kwargs
    ) -> Record:
        """Run a stage and return its record, timed and kept if ``result.json`` tells of it."""
        with self.stage(name):
            record = step(*args, **options)
        self.note(record)
        return record

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, and log that it begins and ends under a number of its own even beside others."""
        progress = f"[{next(self._numbers)}/{self.n_stages}] {name.replace('_', ' ')}"
        logger.info("%s ...", progress)
        self._notify(StageEvent(name, self.n_stages))
        begin = time.perf_counter()
        self.timings_s[name] = 0.0
        try:
            yield
        finally:
            self.timings_s[name] = time.perf_counter() - begin
        logger.info("%s: %.1f s", progress, self.timings_s[name])
        self._notify(StageEvent(name, self.n_stages, self.timings_s[name]))

    def _notify(self, event: StageEvent) -> None:
        if self._watch:
            with self._one_at_a_time:
                self._watch(event)

    def note(self, record: object) -> None:
        """Keep a stage's record if ``result.json`` tells of it."""
        match record:
            case Scan():
                self.scan = record
            case Selection():
                self.selection = record
            case Findings():
                self.findings = record
