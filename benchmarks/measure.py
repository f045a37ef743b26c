"""Seconds and memory of one piece of work."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

HEADER = f"{'what':<32}{'seconds':>9}{'peak MB above':>15}"


def measure(what: str, work: Callable[[], object]) -> str:
    """A line of a table: seconds, and peak of resident memory above what the process held before."""
    before_mb = begin_peak()
    begin = time.perf_counter()
    work()
    seconds = time.perf_counter() - begin
    return f"{what:<32}{seconds:>9.2f}{peak_mb() - before_mb:>15.0f}"


def begin_peak() -> float:
    """Have the peak begin anew; returns the megabytes that the process holds."""
    ctypes.CDLL(None).malloc_trim(0)  # memory that is kept for later would hide what is used
    Path("/proc/self/clear_refs").write_text("5")
    return resident_mb()


def resident_mb() -> float:
    """Resident memory now."""
    return _memory_mb("VmRSS")


def peak_mb() -> float:
    """Peak of resident memory since."""
    return _memory_mb("VmHWM")


def _memory_mb(what: str) -> float:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return float(line.split()[1]) / 1024
