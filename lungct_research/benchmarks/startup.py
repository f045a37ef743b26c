"""Seconds from the start of the process to the first stage, and the imports that they go to."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIRST_STAGE = "[1/"
N_IMPORTS = 12


def command(folder: str, models: Path, *options: str) -> list[str]:
    """Analyse a folder without images, so that the process ends in the first stage."""
    application = [str(ROOT / "app"), "-i", folder, "-o", f"{folder}/out", "-m", str(models)]
    return [sys.executable, *options, *application]


def seconds_to_first_stage(folder: str, models: Path) -> tuple[float, float]:
    """Until the log tells that the first stage begins, by the clock, and those that the CPU worked in all."""
    begin, worked_s = time.perf_counter(), _worked_s()
    with subprocess.Popen(command(folder, models), stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stderr  # noqa: S101
        next(line for line in process.stderr if FIRST_STAGE in line)
        seconds = time.perf_counter() - begin
        process.stderr.read()
    return seconds, _worked_s() - worked_s


def _worked_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def slowest_imports(folder: str, models: Path) -> list[tuple[float, str]]:
    """Seconds and names of the slowest imports; an import counts what it imports in turn."""
    log = subprocess.run(  # noqa: S603
        command(folder, models, "-X", "importtime"), stderr=subprocess.PIPE, text=True, check=False
    ).stderr
    rows = [
        line.split("|") for line in log.splitlines() if line.startswith("import time:") and "[us]" not in line
    ]
    imports = [(int(total_us) / 1e6, name.rstrip()[1:]) for _, total_us, name in rows]
    top_level = [(seconds, name) for seconds, name in imports if "." not in name.strip()]
    return sorted(top_level, reverse=True)[:N_IMPORTS]


def run(models: Path, n_starts: int) -> None:
    """Print the median of some starts and the profile of one."""
    with tempfile.TemporaryDirectory() as folder:
        starts = [seconds_to_first_stage(folder, models) for _ in range(n_starts)]
        for what, values in zip(("clock", "CPU"), zip(*starts, strict=True), strict=True):
            median = statistics.median(values)
            print(f"{what:<6}{min(values):6.2f} to {max(values):.2f} s, median {median:.2f} s")
        for seconds, name in slowest_imports(folder, models):
            print(f"{seconds:8.2f} s  {name.strip()}")
