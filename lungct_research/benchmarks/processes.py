"""Whole processes: analyses and their stages, the time until they begin, and memory over many of them."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import yaml

from lungct.pipeline import Analyser
from lungct.process import prepare_process
from lungct.settings import SECTION, Settings
from lungct_research.benchmarks.measure import read_memory_mb
from lungct_research.benchmarks.study import ANY_THICKNESS, ROOT, spacing_of_mm, write_chest
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions
from lungct_research.synthesis.phantom.thorax import make_thorax

FIRST_STAGE = "[1/"

PIXEL_MM, PLANE = 2.8, (128, 128)
N_PERSONS = 4
EVERY = 10
"""Small studies, analysed in turn; a row of the table stands for ten of them."""


@dataclass(frozen=True)
class Run:
    """One analysis.

    Attributes:
        whole_s: from the start of the process to its end.
        cpu_s: seconds that all cores worked.
        peak_mb: peak of resident memory.
        stages_s: from ``result.json``; stages that run side by side share the cores.
    """

    study: str
    whole_s: float
    cpu_s: float
    peak_mb: float
    stages_s: dict[str, float]


def analyse(study: Path, folder: Path, models: Path) -> Run:
    """Run the application in a process of its own; its output goes to ``folder``.

    Raises:
        CalledProcessError: it failed.
    """
    out, settings = folder / "out", folder / "any_thickness.yaml"
    settings.write_text(yaml.safe_dump({SECTION: Settings(selection=ANY_THICKNESS).model_dump()}))
    words = [ROOT / "app", "-i", study, "-o", out, "-m", models, "-s", settings, "-l", "ERROR"]
    command = [sys.executable, *map(str, words)]
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: S603
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    whole_s = time.perf_counter() - begin
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    stages_s = json.loads((out / "result.json").read_text())["timings_s"]
    cpu_s = usage.ru_utime + usage.ru_stime
    return Run(study.name, whole_s, cpu_s, usage.ru_maxrss / 1024, stages_s)


def measure_analyses(models: Path, slices: Sequence[int], studies: Sequence[Path], file: Path | None) -> None:
    """Print a table of the stages of each analysis, and keep all as JSON where a file is named.

    Args:
        models: folder of the weights.
        slices: numbers of slices of phantoms to analyse.
        studies: folders of real studies to analyse.
        file: JSON file to write.
    """
    runs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        phantoms = [_write_apart(folder / f"{n_slices} slices", n_slices) for n_slices in slices]
        for study in (*phantoms, *studies):
            run = analyse(study, folder, models)
            print(f"\n{run.study}: {run.whole_s:.1f} s, {run.cpu_s:.0f} s of CPU, {run.peak_mb:.0f} MB")
            for stage, seconds in run.stages_s.items():
                print(f"  {stage:<26}{seconds:>8.2f}")
            runs.append(asdict(run))
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"runs": runs}, indent=2) + "\n", encoding="utf-8")


def _write_apart(folder: Path, n_slices: int) -> Path:
    """Write a phantom in another process: the peak of a process counts what its parent held at its start."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(write_chest, folder, n_slices).result()


def measure_startup(models: Path, n_starts: int) -> None:
    """Print the seconds until the log names the first stage.

    The folder that is analysed is empty, so that the process ends in the first stage.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = [str(ROOT / "app"), "-i", folder, "-o", f"{folder}/out", "-m", str(models)]
        starts = [_time_first_stage([sys.executable, *words]) for _ in range(n_starts)]
        for what, values in zip(("clock", "CPU"), zip(*starts, strict=True), strict=True):
            median = statistics.median(values)
            print(f"{what:<6}{min(values):6.2f} to {max(values):.2f} s, median {median:.2f} s")


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
