"""Every benchmark runs, on a phantom of 30 slices or on what is smallest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lungct_research.benchmarks.command import benchmark
from lungct_research.benchmarks.study import write_chest
from tests.lungct_research.command import lungct

FEW = ("--slices", 30)
FEWEST_ELIGIBLE = 110
"""Slices of 3 mm in the chest of the benchmarks: fewer are too thick to be read like any other study."""

OPTIONS = {
    "anatomy": FEW,
    "devices": FEW,
    "dicom-write": FEW,
    "instead": ("reading, SDK operators",),
    "lobes": FEW,
    "report": FEW,
    "run": FEW,
    "soak": ("--studies", 1, *FEW),
    "startup": ("--starts", 1),
    "trees": FEW,
    "waiting": ("--service-s", 60, "--machines", 1),
}
LAST_ROW = {
    "anatomy": "vessels",
    "devices": "vessels",
    "dicom-write": "key slices",
    "instead": "seconds",
    "lobes": "lungs and lobes",
    "report": "HTML",
    "run": "report_writer",
    "soak": "1",
    "startup": "s",
    "trees": "soft",
    "waiting": "60",
}
"""What the last line of the table is about."""


def test_every_benchmark_is_run_here() -> None:
    assert set(benchmark.commands) == set(OPTIONS)


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - {"run"}))
def test_benchmark_prints_its_table(name: str, tmp_path: Path) -> None:
    study = [write_chest(tmp_path, FEWEST_ELIGIBLE)] if name == "instead" else []
    result = lungct("benchmark", name, *OPTIONS[name], *study)
    assert result.exit_code == 0, result.stderr
    assert LAST_ROW[name] in result.stdout.splitlines()[-1]


def test_run_prints_its_table_and_keeps_its_figures_as_json(tmp_path: Path) -> None:
    file = tmp_path / "runs" / "figures.json"
    result = lungct("benchmark", "run", *OPTIONS["run"], "--json", file)
    assert LAST_ROW["run"] in result.stdout.splitlines()[-1]
    (run,) = json.loads(file.read_text())["runs"]
    assert run["study"] == "30 slices"
    assert {"lung_segmenter", "slice_segmenter", "classifier"} <= run["stages_s"].keys()
