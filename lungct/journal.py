"""What happened during one analysis, for ``result.json`` and for the person who watches."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lungct.records import Findings, Scan, Selection

logger = logging.getLogger("lungct")


class Journal:
    """Collects the records and timings that ``result.json`` needs, whatever stage the analysis reaches.

    Attributes:
        n_stages: how many stages the whole analysis has; shown with the progress.
        scan: None until the input was scanned.
        selection: None until every series was judged.
        findings: None until the analysis is complete.
        timings_s: seconds of every stage begun, by name.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.n_stages = 0
        self._numbers = itertools.count(1)
        self.timings_s: dict[str, float] = {}
        self.scan: Scan | None = None
        self.selection: Selection | None = None
        self.findings: Findings | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and log that it begins and ends, under a number of its own even beside others."""
        progress = f"[{next(self._numbers)}/{self.n_stages}] {name.replace('_', ' ')}"
        logger.info("%s ...", progress)
        begin = time.perf_counter()
        self.timings_s[name] = 0.0
        try:
            yield
        finally:
            self.timings_s[name] = time.perf_counter() - begin
        logger.info("%s: %.1f s", progress, self.timings_s[name])

    def note(self, record: object) -> None:
        """Keep a stage's record if ``result.json`` tells of it."""
        match record:
            case Scan():
                self.scan = record
            case Selection():
                self.selection = record
            case Findings():
                self.findings = record
