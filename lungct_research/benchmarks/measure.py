"""Seconds and memory of one piece of work."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

HEADER = f"{'what':<32}{'seconds':>9}{'peak MB above':>15}"


def measure(what: str, work: Callable[[], object]) -> str:
    """A line of a table: seconds, and peak of resident memory above what the process held before."""
    return row(what, *seconds_and_peak_mb(work))


def row(what: str, seconds: float, peak_mb: float) -> str:
    """A line below :data:`HEADER`."""
    return f"{what:<32}{seconds:>9.2f}{peak_mb:>15.0f}"


def seconds_and_peak_mb(work: Callable[[], object]) -> tuple[float, float]:
    """Of one run of the work; the peak is that above what the process held before."""
    ctypes.CDLL(None).malloc_trim(0)  # memory that is kept for later would hide what is used
    before_mb = resident_mb()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    begin = time.perf_counter()
    work()
    seconds = time.perf_counter() - begin
    return seconds, _memory_mb("VmHWM") - before_mb


def best_seconds(work: Callable[[], object], n_runs: int = 3) -> float:
    """The fastest of some runs after one that does not count."""

    def once() -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    work()
    return min(once() for _ in range(n_runs))


def resident_mb() -> float:
    """Resident memory now."""
    return _memory_mb("VmRSS")


def _memory_mb(what: str) -> float:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return float(line.split()[1]) / 1024
