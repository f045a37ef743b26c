"""Stages and whole of the application, against their floors and against what a user would pick instead.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lungct.networks import Classifier3d, LobeUNet, opacity_unet
from lungct.networks.inputs import CLASSIFIER_SHAPE, SEGMENTER_SHAPE
from lungct.networks.lobe_unet import GRID_SPACING_MM, STRIDE
from lungct_research.benchmarks.instead import PREPARE, measured
from lungct_research.benchmarks.measure import HEADER, best_seconds, row
from lungct_research.benchmarks.study import (
    N_THREADS,
    ROOT,
    SHAPE,
    SPACING_MM,
    spacing_of_mm,
    write_chest,
    write_settings,
)

N_SERIES = 4
"""Of the study on which reading is compared."""

MEASURED_N, MEASURED_BYTES = 1536, 1 << 28

Result = TypeVar("Result")


@dataclass(frozen=True)
class Run:
    """One analysis.

    Attributes:
        whole_s: from the start of the process to its end.
        cpu_s: that all cores worked.
        peak_mb: of resident memory.
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
    """What two threads of this machine reach: multiplications and additions in float32, bytes copied."""

    flops_per_s: float
    bytes_per_s: float


def machine() -> Machine:
    """Best of three multiplications of large matrices and copies of a large array."""
    one, other = torch.rand(MEASURED_N, MEASURED_N), torch.rand(MEASURED_N, MEASURED_N)
    source, target = (
        torch.ones(MEASURED_BYTES, dtype=torch.uint8),
        torch.ones(MEASURED_BYTES, dtype=torch.uint8),
    )
    multiplied_s, copied_s = best_seconds(lambda: one @ other), best_seconds(lambda: target.copy_(source))
    return Machine(2 * MEASURED_N**3 / multiplied_s, 2 * MEASURED_BYTES / copied_s)


def analyse(study: Path, folder: Path, models: Path, name: str, n_slices: int) -> Run:
    """Run the application.

    Raises:
        CalledProcessError: it failed.
    """
    out, settings = folder / "out", write_settings(folder)
    places = ["-i", study, "-o", out, "-m", models, "-s", settings]
    command = [sys.executable, *map(str, [ROOT / "app", *places]), "-l", "ERROR"]
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: S603
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    whole_s = time.perf_counter() - begin
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    stages_s = json.loads((out / "result.json").read_text())["timings_s"]
    cpu_s = usage.ru_utime + usage.ru_stime
    return Run(name, n_slices, whole_s, cpu_s, usage.ru_maxrss / 1024, stages_s)


def floors(of: Machine, n_slices: int) -> dict[str, float]:
    """Seconds that each stage takes at least, for the phantom of so many slices.

    Reading and writing pass over the pixels once, anatomy over the volume and a mask; a network makes its
    multiplications, the opacity network on every slice.
    """
    n_voxels = n_slices * SHAPE[1] * SHAPE[2]
    height_mm = n_slices * spacing_of_mm(n_slices)[0]
    sides_mm = (height_mm, *(n * mm for n, mm in zip(SHAPE[1:], SPACING_MM[1:], strict=True)))
    grid = [math.ceil(round(side / GRID_SPACING_MM) / STRIDE) * STRIDE for side in sides_mm]
    slice_flops = _flops(opacity_unet(), (1, 3, *SEGMENTER_SHAPE))
    passes = {"preprocessing": 4, "airway_vessel_segmenter": 4, "lobe_quantifier": 2, "report_writer": 6}
    return {stage: n * n_voxels / of.bytes_per_s for stage, n in passes.items()} | {
        "lung_segmenter": _flops(LobeUNet(), (1, 1, *grid)) / of.flops_per_s + 3 * n_voxels / of.bytes_per_s,
        "classifier": _flops(Classifier3d(), (1, 1, *CLASSIFIER_SHAPE)) / of.flops_per_s,
        "slice_segmenter": n_slices * slice_flops / of.flops_per_s,
    }


@torch.inference_mode()
def _flops(network: nn.Module, shape: tuple[int, ...]) -> int:
    with FlopCounterMode(display=False) as counter:
        network.eval().to("meta")(torch.empty(shape, device="meta"))
    return int(counter.get_total_flops())


def _apart(work: Callable[..., Result], *arguments: object) -> Result:
    """Run work in another process: the peak of a process counts what its parent held when it started."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def print_run(run: Run, floor_s: dict[str, float]) -> None:
    """A table of the stages."""
    print(f"\n{run.study}: {run.whole_s:.1f} s, {run.cpu_s:.0f} s of CPU, {run.peak_mb:.0f} MB")
    for stage, seconds in run.stages_s.items():
        floor = floor_s.get(stage, 0.0)
        ratio = f"{floor:>9.2f}{seconds / floor:>8.1f}" if floor else ""
        print(f"  {stage:<26}{seconds:>8.2f}{ratio}")


def compared(studies: Mapping[str, Path]) -> Iterator[dict[str, object]]:
    """Every alternative in a process of its own; prints as it goes."""
    print(f"\n{HEADER}")
    for what in PREPARE:
        study = studies["several series" if what.startswith("reading") else "one series"]
        found = _apart(measured, what, study)
        print(row(what, **found), flush=True)
        yield {"what": what, **found}


def run(
    models: Path, slices: Sequence[int], studies: Sequence[Path], file: Path | None, *, alone: bool
) -> None:
    """Print the tables, and keep them as JSON where a file is named.

    Args:
        models: folder of the weights.
        slices: numbers of slices of phantoms to analyse.
        studies: folders of real studies to analyse.
        file: JSON file to write.
        alone: nothing else is measured beside the application.
    """
    torch.set_num_threads(N_THREADS)
    speed = machine()
    print(f"two threads: {speed.flops_per_s / 1e9:.0f} GFLOP/s, {speed.bytes_per_s / 1e9:.1f} GB/s")
    runs, rows = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for n_slices in slices:
            study = _apart(write_chest, folder / str(n_slices), n_slices)
            runs.append(analyse(study, folder, models, f"{n_slices} slices", n_slices))
            print_run(runs[-1], floors(speed, n_slices))
        for study in studies:
            runs.append(analyse(study, folder, models, study.name, 0))
            print_run(runs[-1], {})
        if not alone:
            rows = list(compared(write_compared(folder)))
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        record = {"machine": asdict(speed), "runs": [asdict(run) for run in runs], "instead": rows}
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def write_compared(folder: Path) -> dict[str, Path]:
    """Write the studies on which the application is compared with others."""
    return {
        "one series": _apart(write_chest, folder / "one", SHAPE[0]),
        "several series": _apart(write_chest, folder / "several", SHAPE[0] // 2, N_SERIES),
    }
