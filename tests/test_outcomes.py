"""What a user gets where something is wrong: exit codes, messages, `result.json`, and no other file."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lungct.journal import Journal
from lungct.report.result import build_result
from lungct.run import OutputFolder
from lungct_research.synthesis.phantom.dicom_faults import Fault
from lungct_research.synthesis.phantom.dicom_study import write_localizer, write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions
from tests.application_runs import DELIVERED, MODELS, PLANTED, ROOT, PhantomRun, Run

Outcome = Callable[..., Run]


@pytest.fixture
def outcome(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Outcome:
    """Runs the application in this process, which spares the start-up."""
    spec = importlib.util.spec_from_file_location("application_main", ROOT / "app" / "__main__.py")
    assert spec
    assert spec.loader
    application_main = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(application_main)

    def run(study: Path, *options: object, out: Path = tmp_path / "out", models: Path = MODELS) -> Run:
        argv = ["-i", study, "-o", out, "-m", models, *options]
        exit_code = application_main.main([str(part) for part in argv])
        return Run(exit_code, "".join(capfd.readouterr()), out)

    return run


def small_study(folder: Path, *faults: Fault) -> Path:
    volume_hu = np.full((70, 32, 32), -1000, np.int16)
    volume_hu[:, 4:28, 4:28] = 40
    volume_hu[5:65, 8:24, 8:24] = -850
    write_study(volume_hu, folder, StudyOptions(spacing_mm=(2.5, 8, 8), faults=faults, **PLANTED))
    return folder


@pytest.mark.fault("files", "Empty folder", "exit code 4, `NO_DICOM`")
def test_empty_folder_is_bad_input(tmp_path: Path, outcome: Outcome) -> None:
    (tmp_path / "study").mkdir()
    run = outcome(tmp_path / "study")
    assert run.exit_code == 4
    assert run.files == ["result.json"]
    assert run.result["reason"]["code"] == "NO_DICOM"
    assert "the input folder holds no DICOM image" in run.log


def test_missing_folder_is_bad_input(tmp_path: Path, outcome: Outcome) -> None:
    run = outcome(tmp_path / "nowhere")
    assert run.exit_code == 4
    assert "does not exist" in run.result["reason"]["message"]


@pytest.mark.fault("files", "A text file named .dcm as the input", "exit code 4, `NOT_DICOM`")
def test_renamed_text_file_is_bad_input(tmp_path: Path, outcome: Outcome) -> None:
    (tmp_path / "letter.dcm").write_text("Dear colleague")
    run = outcome(tmp_path / "letter.dcm")
    assert run.exit_code == 4
    assert "NOT_DICOM" in run.result["reason"]["message"]
    assert run.result["input"]["skipped_files"][0]["name"] == "letter.dcm"


@pytest.mark.fault("series", "A localizer alone", "exit code 3, `LOCALIZER`")
def test_localizer_only_is_a_result_without_analysis(tmp_path: Path, outcome: Outcome) -> None:
    write_localizer(np.full((40, 32, 32), -800, np.int16), tmp_path / "study", StudyOptions())
    run = outcome(tmp_path / "study")
    assert run.exit_code == 3
    assert run.files == ["result.json"]
    assert run.result["status"] == "no_eligible_series"
    assert "LOCALIZER" in [reason["code"] for reason in run.result["input"]["series"][0]["reasons"]]


def test_truncated_file_is_named(tmp_path: Path, outcome: Outcome) -> None:
    run = outcome(small_study(tmp_path / "study", Fault.TRUNCATED_FILE))
    assert run.exit_code == 4
    assert run.files == ["result.json"]
    assert ".dcm" in run.result["reason"]["message"]
    assert run.result["reason"]["message"] in run.log


@pytest.mark.fault("chest", "A body without lungs", "exit code 4, `NO_LUNG`")
def test_chest_without_lungs_is_refused(tmp_path: Path, outcome: Outcome) -> None:
    volume_hu = np.full((70, 32, 32), -1000, np.int16)
    volume_hu[:, 4:28, 4:28] = 40
    write_study(volume_hu, tmp_path / "study", StudyOptions(spacing_mm=(2.5, 8, 8)))
    run = outcome(tmp_path / "study")
    assert run.exit_code == 4
    assert run.result["reason"]["code"] == "NO_LUNG"


@pytest.mark.fault("models", "Empty models folder", "exit code 6 before any image is read")
def test_missing_weights_are_told(tmp_path: Path, outcome: Outcome) -> None:
    run = outcome(small_study(tmp_path / "study"), models=tmp_path)
    assert run.exit_code == 6
    assert run.result["status"] == "bad_model"
    assert run.result["timings_s"] == {}, "the images were read although the weights are missing"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.fault("machine", "`device: cuda` without a GPU", "exit code 2: set it to auto or cpu")
def test_cuda_without_a_device_is_told(tmp_path: Path, outcome: Outcome) -> None:
    (tmp_path / "app.yaml").write_text("lungct: {device: cuda}")
    run = outcome(small_study(tmp_path / "study"), "-s", tmp_path / "app.yaml")
    assert run.exit_code == 2
    assert "set it to auto or cpu" in run.result["reason"]["message"]


@pytest.mark.fault("models", "Unknown value in `app.yaml`", "exit code 2, names the key")
def test_wrong_settings_are_told(tmp_path: Path, outcome: Outcome) -> None:
    (tmp_path / "app.yaml").write_text("lungct: {device: abacus}")
    run = outcome(small_study(tmp_path / "study"), "-s", tmp_path / "app.yaml")
    assert run.exit_code == 2
    assert "lungct.device" in run.result["reason"]["message"]


@pytest.mark.fault(
    "machine",
    "Output folder that cannot be made",
    "exit code 5; no `result.json`, since there is no place for it",
)
def test_unwritable_output_is_told(tmp_path: Path, outcome: Outcome) -> None:
    (tmp_path / "file").touch()
    run = outcome(small_study(tmp_path / "study"), out=tmp_path / "file" / "out")
    assert run.exit_code == 5
    assert "cannot write to the output folder" in run.log


@pytest.mark.fault(
    "machine",
    "Unforeseen error",
    "exit code 1; type and place, never its text, which may name the patient",
)
def test_unforeseen_error_is_told_without_its_text(
    tmp_path: Path, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_root: Path) -> None:
        raise ValueError(f"patient {PLANTED['patient_name']}")

    monkeypatch.setattr("operators.dicom_loader.scan_folder", fail)
    run = outcome(small_study(tmp_path / "study"))
    assert run.exit_code == 1
    assert run.result["reason"]["code"] == "INTERNAL_ERROR"
    assert "ValueError at test_outcomes.py" in run.result["reason"]["message"]
    assert PLANTED["patient_name"] not in run.log + json.dumps(run.result)


def _lack_of_memory(_root: Path) -> None:
    np.empty(2**60, np.uint8)


def _torch_lacks_memory(_root: Path) -> None:
    torch.empty(2**50, dtype=torch.uint8)


def _gpu_lacks_memory(_root: Path) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.fault("machine", "Not enough memory, of the machine or the GPU", "exit code 1, `OUT_OF_MEMORY`")
@pytest.mark.parametrize("fail", [_lack_of_memory, _torch_lacks_memory, _gpu_lacks_memory])
def test_lack_of_memory_is_told(
    tmp_path: Path, outcome: Outcome, monkeypatch: pytest.MonkeyPatch, fail: Callable[[Path], None]
) -> None:
    monkeypatch.setattr("operators.dicom_loader.scan_folder", fail)
    run = outcome(small_study(tmp_path / "study"))
    assert (run.exit_code, run.result["reason"]["code"]) == (1, "OUT_OF_MEMORY")
    assert run.files == ["result.json"]


def _gpu_is_lost(_root: Path) -> None:
    raise torch.AcceleratorError("CUDA error: device lost")


@pytest.mark.fault("machine", "GPU lost during the run", "exit code 1, `GPU_FAILED`")
def test_lost_gpu_is_told(tmp_path: Path, outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operators.dicom_loader.scan_folder", _gpu_is_lost)
    run = outcome(small_study(tmp_path / "study"))
    assert (run.exit_code, run.result["reason"]["code"]) == (1, "GPU_FAILED")
    assert run.files == ["result.json"]


@pytest.mark.fault("machine", "One of two stages that run side by side fails", "its error; no other file")
@pytest.mark.parametrize("stage", ["classifier.classify", "slice_segmenter.segment_opacities"])
def test_failure_beside_another_stage_ends_the_run(
    phantom_run: PhantomRun, outcome: Outcome, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def fail(*_: object) -> None:
        raise torch.AcceleratorError("CUDA error: device lost")

    monkeypatch.setattr(f"operators.{stage}", fail)
    run = outcome(phantom_run.run.out.parent / "study")
    assert (run.exit_code, run.result["reason"]["code"]) == (1, "GPU_FAILED")
    assert run.files == ["result.json"]


@pytest.mark.fault("machine", "Clock set back during the run", "the seconds of the stages stay right")
def test_timings_do_not_follow_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal()
    with journal.stage("preprocessing"):
        monkeypatch.setattr("time.time", lambda: 0.0)
    assert 0 <= journal.timings_s["preprocessing"] < 1


@pytest.mark.fault("machine", "Failing run into a folder with older results", "the older results are gone")
def test_failed_run_removes_the_results_of_an_earlier_one(tmp_path: Path, outcome: Outcome) -> None:
    with OutputFolder(tmp_path / "out", tuple(DELIVERED)) as folder:
        (folder.staging / "dicom").mkdir()
        for name in DELIVERED:
            (folder.staging / name).touch()
        folder.publish()
        folder.write_result(build_result(Journal(), None, DELIVERED).model_dump_json())
    small_study(tmp_path / "study", Fault.TRUNCATED_FILE)
    assert outcome(tmp_path / "study").files == ["result.json"]


def test_file_name_that_is_no_text_does_not_end_the_run(tmp_path: Path, outcome: Outcome) -> None:
    (tmp_path / "study").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "study") + b"/Befund_M\xfcller.txt")).touch()
    run = outcome(tmp_path / "study")
    assert run.exit_code == 4
    assert run.result["input"]["skipped_files"][0]["name"] == "Befund_M?ller.txt"
