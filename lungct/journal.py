"""What happened during one analysis, for ``result.json`` and for the person who watches."""

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
        name: the stage, with underscores.
        number: counted from 1 in the order in which the stages begin.
        n_stages: how many stages the whole analysis has.
        seconds: how long the stage took; None when it begins.
    """

    name: str
    number: int
    n_stages: int
    seconds: float | None = None


Watcher = Callable[[StageEvent], None]


class Journal:
    """Collects the records and timings that ``result.json`` needs, whatever stage the analysis reaches.

    Attributes:
        n_stages: how many stages the whole analysis has; shown with the progress.
        scan: None until the input was scanned.
        selection: None until every series was judged.
        findings: None until the analysis is complete.
        timings_s: seconds of every stage begun, by name.
    """

    def __init__(self, watch: Watcher | None = None) -> None:
        """Begin empty.

        Args:
            watch: called when a stage begins and when it ended well, one call at a time, in the thread of the
                stage.
        """
        self.n_stages = 0
        self.timings_s: dict[str, float] = {}
        self.scan: Scan | None = None
        self.selection: Selection | None = None
        self.findings: Findings | None = None
        self._watch = watch
        self._numbers = itertools.count(1)
        self._one_at_a_time = threading.Lock()

    def run(
        self,
        name: str,
        step: Callable[Arguments, Record],
        *args: Arguments.args,
        **options: Arguments.kwargs,
    ) -> Record:
        """Return what the step of a stage returns, timed and kept if ``result.json`` tells of it."""
        with self.stage(name):
            record = step(*args, **options)
        self.note(record)
        return record

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and tell that it begins and ends, under a number of its own even beside others."""
        number = next(self._numbers)
        self._tell(StageEvent(name, number, self.n_stages))
        begin = time.perf_counter()
        self.timings_s[name] = 0.0
        try:
            yield
        finally:
            self.timings_s[name] = time.perf_counter() - begin
        self._tell(StageEvent(name, number, self.n_stages, self.timings_s[name]))

    def _tell(self, event: StageEvent) -> None:
        progress = f"[{event.number}/{event.n_stages}] {event.name.replace('_', ' ')}"
        if event.seconds is None:
            logger.info("%s ...", progress)
        else:
            logger.info("%s: %.1f s", progress, event.seconds)
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
