"""Time and memory of finding airways and vessels in a phantom of 300 slices of 512 x 512.

Example:
    python -m benchmarks.anatomy
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from lungct.anatomy.airways import segment_airways
from lungct.anatomy.vessels import segment_vessels
from lungct.inference.device import keep_freed_memory
from lungct.records import CtVolume, MaskArray
from phantom.thorax import make_thorax

SHAPE, SPACING_MM = (300, 512, 512), (1.1, 0.7, 0.7)
AXES = [2, 1, 0, 3]
"""Slices, rows and columns of the phantom run along S, P and L."""


def main() -> int:
    """Print the table; returns the exit code."""
    keep_freed_memory()
    torch.set_num_threads(2)
    phantom = make_thorax(1, SPACING_MM, SHAPE, pattern="covid")
    volume = CtVolume(phantom.volume_hu, np.diag([*SPACING_MM, 1.0])[AXES])
    print(f"{'what':<12}{'seconds':>9}{'peak MB above':>15}{'Dice':>7}{'sensitivity':>13}{'precision':>11}")
    airways = _measure("airways", lambda: segment_airways(volume, phantom.lobes), phantom.airways)
    _measure("vessels", lambda: segment_vessels(volume, phantom.lobes, airways), phantom.vessels)
    return 0


def _measure(what: str, work: Callable[[], MaskArray], truth: MaskArray) -> MaskArray:
    ctypes.CDLL(None).malloc_trim(0)  # kept memory would hide what is used
    before_mb = _memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    begin = time.perf_counter()
    found = work()
    seconds = time.perf_counter() - begin
    above_mb = _memory_mb("VmHWM") - before_mb
    both, n_found, n_true = (np.count_nonzero(mask) for mask in (found & truth, found, truth))
    sensitivity, precision = both / n_true, both / max(n_found, 1)
    dice = 2 * both / (n_found + n_true)
    print(f"{what:<12}{seconds:>9.2f}{above_mb:>15.0f}{dice:>7.3f}{sensitivity:>13.2f}{precision:>11.2f}")
    return found


def _memory_mb(what: str) -> float:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return float(line.split()[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
