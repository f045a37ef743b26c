"""Whole processes: seconds until an analysis begins, and memory over many analyses."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lungct.pipeline import Analyser
from lungct.process import prepare_process
from lungct.settings import Settings
from lungct_research.benchmarks.measure import read_memory_mb
from lungct_research.benchmarks.study import ANY_THICKNESS, ROOT, spacing_of_mm
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions
from lungct_research.synthesis.phantom.thorax import make_thorax

FIRST_STAGE = "[1/"
N_IMPORTS = 12

PIXEL_MM, PLANE = 2.8, (128, 128)
N_PERSONS = 4
EVERY = 10
"""Small studies, analysed in turn; a row of the table stands for ten of them."""


def measure_startup(models: Path, n_starts: int) -> None:
    """Print the seconds until the log names the first stage, and the imports that take longest.

    The folder that is analysed is empty, so that the process ends in the first stage.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = [str(ROOT / "app"), "-i", folder, "-o", f"{folder}/out", "-m", str(models)]
        starts = [_time_first_stage([sys.executable, *words]) for _ in range(n_starts)]
        for what, values in zip(("clock", "CPU"), zip(*starts, strict=True), strict=True):
            median = statistics.median(values)
            print(f"{what:<6}{min(values):6.2f} to {max(values):.2f} s, median {median:.2f} s")
        for seconds, name in _time_imports([sys.executable, "-X", "importtime", *words]):
            print(f"{seconds:8.2f} s  {name.strip()}")


def _time_first_stage(command: list[str]) -> tuple[float, float]:
    """Return seconds by the clock until the first stage begins, and of the CPU until the process ends."""
    begin, worked_s = time.perf_counter(), _children_cpu_s()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stderr  # noqa: S101
        next(line for line in process.stderr if FIRST_STAGE in line)
        seconds = time.perf_counter() - begin
        process.stderr.read()
    return seconds, _children_cpu_s() - worked_s


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _time_imports(command: list[str]) -> list[tuple[float, str]]:
    """Return seconds and names of the slowest packages; each counts what it imports in turn."""
    log = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False).stderr  # noqa: S603
    lines = [line for line in log.splitlines() if line.startswith("import time:") and "[us]" not in line]
    imports = [(int(total_us) / 1e6, name[1:]) for _, total_us, name in (line.split("|") for line in lines)]
    return sorted((found for found in imports if "." not in found[1].strip()), reverse=True)[:N_IMPORTS]


def measure_soak(models: Path, n_studies: int, n_slices: int) -> None:
    """Analyse one study after the other in this process; print its memory and open files now and then.

    Raises:
        RuntimeError: an analysis failed.
    """
    prepare_process()
    analyser = Analyser(Settings(selection=ANY_THICKNESS), models)
    spacing_mm = (spacing_of_mm(n_slices)[0], PIXEL_MM, PIXEL_MM)
    print(f"{'studies':>8}{'MB':>8}{'open files':>12}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for person in range(N_PERSONS):
            phantom = make_thorax(person + 1, spacing_mm, (n_slices, *PLANE), disease=Disease.COVID19)
            options = StudyOptions(seed=person, spacing_mm=spacing_mm)
            write_study(phantom.volume_hu, folder / str(person), options)
        for number in range(n_studies):
            result = analyser.analyse(folder / str(number % N_PERSONS), folder / "out")
            if result.findings is None:
                raise RuntimeError(f"analysis {number + 1} ended with {result.reason}")
            if (number + 1) % EVERY == 0 or not number:
                n_files = len(list(Path("/proc/self/fd").iterdir()))
                print(f"{number + 1:>8}{read_memory_mb('VmRSS'):>8.0f}{n_files:>12}", flush=True)
