"""Stages and whole of the application, beside their floors and beside what a user would pick instead.

Every analysis is a process of its own, as users start it. Floors are what the bytes and multiplications of a
stage take at the speed that this machine reaches with nothing else to do.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch
import yaml
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lungct.networks import Classifier3d, LobeUNet, opacity_unet
from lungct.networks.inputs import CLASSIFIER_SHAPE, SEGMENTER_SHAPE
from lungct.networks.lobe_unet import GRID_SPACING_MM, STRIDE
from lungct.settings import SECTION, Settings
from lungct_research.benchmarks.instead import PREPARE, measure_part
from lungct_research.benchmarks.measure import HEADER, format_row
from lungct_research.benchmarks.study import ANY_THICKNESS, N_THREADS, ROOT, SHAPE, SPACING_MM, write_chest

N_SERIES = 4
"""Series of the study on which reading is compared."""

MEASURED_N, MEASURED_BYTES = 1536, 1 << 28

Result = TypeVar("Result")


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
    n_slices: int
    whole_s: float
    cpu_s: float
    peak_mb: float
    stages_s: dict[str, float]


@dataclass(frozen=True)
class Machine:
    """Speed of two threads of this machine: float32 operations and bytes copied."""

    flops_per_s: float
    bytes_per_s: float


def measure_machine() -> Machine:
    """Measure the best of three multiplications of large matrices and copies of a large array."""
    one, other = torch.rand(2, MEASURED_N, MEASURED_N)
    source, target = torch.ones(2, MEASURED_BYTES, dtype=torch.uint8)
    works: list[Callable[[], object]] = [lambda: one @ other, lambda: target.copy_(source)]
    multiplied_s, copied_s = (min(timeit.repeat(work, number=1, repeat=4)) for work in works)
    return Machine(2 * MEASURED_N**3 / multiplied_s, 2 * MEASURED_BYTES / copied_s)


def analyse(study: Path, folder: Path, models: Path, n_slices: int) -> Run:
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
    return Run(study.name, n_slices, whole_s, cpu_s, usage.ru_maxrss / 1024, stages_s)


def compute_floors(machine: Machine, n_slices: int) -> dict[str, float]:
    """Return the seconds that each stage takes at least, for the phantom in so many slices.

    Reading and writing pass over the pixels once, anatomy over the volume and a mask; a network makes its
    multiplications, the opacity network on every slice.
    """
    pass_s = n_slices * SHAPE[1] * SHAPE[2] / machine.bytes_per_s
    sides_mm = [n * mm for n, mm in zip(SHAPE, SPACING_MM, strict=True)]
    grid = [math.ceil(round(side / GRID_SPACING_MM) / STRIDE) * STRIDE for side in sides_mm]
    lobes_s, slice_s, classifier_s = (
        _count_flops(network, shape) / machine.flops_per_s
        for network, shape in (
            (LobeUNet(), (1, 1, *grid)),
            (opacity_unet(), (1, 3, *SEGMENTER_SHAPE)),
            (Classifier3d(), (1, 1, *CLASSIFIER_SHAPE)),
        )
    )
    return {
        "preprocessing": 4 * pass_s,
        "lung_segmenter": lobes_s + 3 * pass_s,
        "slice_segmenter": n_slices * slice_s,
        "classifier": classifier_s,
        "airway_vessel_segmenter": 4 * pass_s,
        "lobe_quantifier": 2 * pass_s,
        "report_writer": 6 * pass_s,
    }


@torch.inference_mode()
def _count_flops(network: nn.Module, shape: tuple[int, ...]) -> int:
    with FlopCounterMode(display=False) as counter:
        network.eval().to("meta")(torch.empty(shape, device="meta"))
    return int(counter.get_total_flops())


def _run_apart(work: Callable[..., Result], *arguments: object) -> Result:
    """Run work in another process: the peak of a process counts what its parent held when it started."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def print_run(run: Run, floor_s: dict[str, float]) -> None:
    """Print a table of the stages, each beside its floor where one is known."""
    print(f"\n{run.study}: {run.whole_s:.1f} s, {run.cpu_s:.0f} s of CPU, {run.peak_mb:.0f} MB")
    for stage, seconds in run.stages_s.items():
        floor = floor_s.get(stage)
        ratio = f"{floor:>9.2f}{seconds / floor:>8.1f}" if floor else ""
        print(f"  {stage:<26}{seconds:>8.2f}{ratio}")


def compare(folder: Path) -> list[dict[str, object]]:
    """Measure every part and every alternative in a process of its own, on studies written to ``folder``."""
    one = _run_apart(write_chest, folder / "one", SHAPE[0])
    several = _run_apart(write_chest, folder / "several", SHAPE[0] // 2, N_SERIES)
    print(f"\n{HEADER}")
    rows: list[dict[str, object]] = []
    for what in PREPARE:
        found = _run_apart(measure_part, what, several if what.startswith("reading") else one)
        print(format_row(what, **found), flush=True)
        rows.append({"what": what, **found})
    return rows


def run(
    models: Path, slices: Sequence[int], studies: Sequence[Path], file: Path | None, *, alone: bool
) -> None:
    """Print the tables, and keep them as JSON where a file is named.

    Args:
        models: folder of the weights.
        slices: numbers of slices of phantoms to analyse.
        studies: folders of real studies to analyse.
        file: JSON file to write.
        alone: measure nothing but the application.
    """
    torch.set_num_threads(N_THREADS)
    machine = measure_machine()
    print(f"two threads: {machine.flops_per_s / 1e9:.0f} GFLOP/s, {machine.bytes_per_s / 1e9:.1f} GB/s")
    runs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for n_slices in slices:
            study = _run_apart(write_chest, folder / f"{n_slices} slices", n_slices)
            runs.append(analyse(study, folder, models, n_slices))
            print_run(runs[-1], compute_floors(machine, n_slices))
        for study in studies:
            runs.append(analyse(study, folder, models, 0))
            print_run(runs[-1], {})
        rows = [] if alone else compare(folder)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        record = {"machine": asdict(machine), "runs": [asdict(run) for run in runs], "instead": rows}
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
