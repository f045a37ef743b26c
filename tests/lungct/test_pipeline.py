"""The analysis as one function: the same files as the graph, a result whatever happens."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

import lungct
from lungct.errors import OutputError
from lungct.file_names import packaged_models
from lungct.journal import StageEvent
from lungct.pipeline import STAGES
from lungct.settings import Settings
from lungct_research.synthesis.phantom.dicom_study import write_localizer
from lungct_research.synthesis.phantom.study_options import StudyOptions
from tests.application_runs import ROOT, PhantomRun


def time_of(run: PhantomRun) -> datetime:
    """When a run wrote its files."""
    written = dcmread(run.run.out / "dicom" / "key_slice_1.dcm")
    return datetime.strptime(written.ContentDate + written.ContentTime.split(".")[0], "%Y%m%d%H%M%S")


def content(path: Path) -> bytes | dict[str, Any]:
    """The bytes of a file; of ``result.json`` all but the timings."""
    if path.name != "result.json":
        return path.read_bytes()
    return {key: value for key, value in json.loads(path.read_bytes()).items() if key != "timings_s"}


def test_files_are_those_of_the_graph_byte_for_byte(
    phantom_run: PhantomRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TimeOfGraph(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # noqa: ARG003
            return time_of(phantom_run)

    monkeypatch.setattr("lungct.delivery.datetime", TimeOfGraph)
    events: list[StageEvent] = []
    of_graph, out = phantom_run.run.out, tmp_path / "out"
    result = lungct.analyse(of_graph.parent / "study", out, watch=events.append)
    assert result.findings
    assert sorted(result.outputs) == sorted(phantom_run.run.result["outputs"])
    assert [name for name in phantom_run.run.files if content(out / name) != content(of_graph / name)] == []
    assert [event.name for event in events if event.seconds is None][:4] == list(STAGES[:4])
    assert {event.name for event in events if event.seconds is not None} == set(STAGES)
    assert {event.n_stages for event in events} == {len(STAGES)}


@pytest.fixture
def localizer(tmp_path: Path) -> Path:
    write_localizer(np.full((40, 32, 32), -800, np.int16), tmp_path / "study", StudyOptions())
    return tmp_path / "study"


def test_study_without_eligible_series_gives_the_reason_and_the_stages_begun(
    localizer: Path, tmp_path: Path
) -> None:
    result = lungct.analyse(localizer, tmp_path / "out")
    assert (result.status, result.exit_code) == ("no_eligible_series", 3)
    assert list(result.timings_s) == ["dicom_loader", "series_selector", "preprocessing"]
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == result.model_dump(mode="json")


def test_wrong_settings_are_told_in_the_result(localizer: Path, tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("lungct: {device: abacus}")
    result = lungct.analyse(localizer, tmp_path / "out", tmp_path / "app.yaml")
    assert (result.status, result.exit_code) == ("bad_settings", 2)


def test_missing_weights_are_told_before_an_image_is_read(localizer: Path, tmp_path: Path) -> None:
    result = lungct.analyse(localizer, tmp_path / "out", models=tmp_path)
    assert (result.status, result.timings_s) == ("bad_model", {})


def test_output_that_cannot_be_written_is_an_error(localizer: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        lungct.analyse(localizer, tmp_path / "file" / "out")


def test_failure_in_one_branch_ends_the_analysis_without_files(
    phantom_run: PhantomRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("lungct.pipeline.classify", fail)
    monkeypatch.setattr("lungct.pipeline.segment_opacities", fail)
    result = lungct.analyse(phantom_run.run.out.parent / "study", tmp_path / "out")
    assert result.reason
    assert result.reason.code == "OUT_OF_MEMORY"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.json"]


def test_networks_stay_loaded_from_one_study_to_the_next(localizer: Path, tmp_path: Path) -> None:
    analyser = lungct.Analyser(Settings(device="cpu"), packaged_models())
    analyser.analyse(localizer, tmp_path / "one")
    models = analyser.models
    analyser.analyse(localizer, tmp_path / "other")
    assert analyser.models is models


def test_import_of_the_package_is_light() -> None:
    script = "import sys, lungct; print(sorted({'numpy', 'torch', 'pydicom'} & set(sys.modules)))"
    command = [sys.executable, "-c", script]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603
    assert shown.strip() == "[]"
