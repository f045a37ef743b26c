"""Seconds and memory of one piece of work."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

HEADER = f"{'what':<34}{'seconds':>9}{'peak MB above':>15}"
CPU = torch.device("cpu")

Result = TypeVar("Result")


def measure(
    what: str,
    work: Callable[[], Result],
    describe: Callable[[Result], str] = lambda _: "",
    device: torch.device = CPU,
) -> Result:
    """Do a piece of work and print its row of the table below :data:`HEADER`.

    Args:
        what: name of the row.
        work: the work.
        describe: makes the end of the row from the result of the work.
        device: where the work runs.

    Returns:
        The result of the work.
    """
    result, seconds, peak_mb = run_measured(work, device)
    print(f"{what:<34}{seconds:>9.2f}{peak_mb:>15.0f}{describe(result)}", flush=True)
    return result


def run_measured(work: Callable[[], Result], device: torch.device = CPU) -> tuple[Result, float, float]:
    """Do a piece of work; on a GPU twice, of which the second run counts.

    Returns:
        The result of the work, seconds, and peak memory in MB: of the process above what it held before, or
        all that is reserved on the GPU.
    """
    if device.type == "cuda":
        work()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    ctypes.CDLL(None).malloc_trim(0)  # memory that is kept for later would hide what is used
    before_mb = read_memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    begin = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    if device.type == "cuda":
        return result, seconds, torch.cuda.max_memory_reserved() / 2**20
    return result, seconds, read_memory_mb("VmHWM") - before_mb


def read_memory_mb(key: str) -> float:
    """Return memory of this process in MB: ``VmRSS`` is what it holds now, ``VmHWM`` the peak of that."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return float(line.split()[1]) / 1024
