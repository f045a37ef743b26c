"""The whole graph through the real executor: outcomes, exit codes, files, logs."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from pydicom import dcmread
from scipy import ndimage

from lungct.journal import Journal
from lungct.output import OutputFolder
from lungct.records import Lobe
from lungct.report.result import build_result
from phantom.compare import Comparison, compare
from phantom.dicom_faults import Fault
from phantom.dicom_study import write_localizer, write_study
from phantom.study_options import StudyOptions
from tests.application_runs import MODELS, PLANTED, REAL_STUDIES, ROOT, PhantomRun, Run, run_application

DELIVERED = [
    "dicom/airways_vessels_seg.dcm",
    "dicom/anatomy_seg.dcm",
    "dicom/findings_seg.dcm",
    *(f"dicom/key_slice_{number}.dcm" for number in range(1, 10)),
    "dicom/measurements_sr.dcm",
    "dicom/report_pdf.dcm",
    "lobes.nii.gz",
    "opacities.nii.gz",
    "report.html",
    "report.pdf",
]

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


def test_phantom_study_is_analysed(phantom_run: PhantomRun) -> None:
    assert phantom_run.run.exit_code == 0, phantom_run.run.log
    assert phantom_run.run.result["status"] == "analysed"


def test_phantom_run_delivers_every_file(phantom_run: PhantomRun) -> None:
    assert phantom_run.run.files == [*DELIVERED, "result.json"]
    assert phantom_run.run.result["outputs"] == DELIVERED


def test_second_run_writes_the_same_numbers_and_dicom_objects(
    phantom_run: PhantomRun, tmp_path: Path
) -> None:
    study = phantom_run.run.out.parent / "study"
    second = run_application(study, tmp_path / "out")
    assert second.result["findings"] == phantom_run.run.result["findings"]
    assert second.files == phantom_run.run.files
    for name in DELIVERED:
        if name.startswith("dicom/"):
            first, again = (dcmread(out / name) for out in (phantom_run.run.out, second.out))
            assert first.SOPInstanceUID == again.SOPInstanceUID, name
            assert first.get("PixelData") == again.get("PixelData"), name


@pytest.mark.parametrize("what", [*Lobe, "opacity"])
def test_phantom_volumes_are_measured_within_tolerance(phantom_run: PhantomRun, what: str) -> None:
    volumes: dict[str, Comparison] = {
        volume.what: volume for volume in compare(phantom_run.truth, phantom_run.run.result)
    }
    assert volumes[what].holds, volumes[what]


def test_exactly_the_thin_series_is_analysed_and_all_verdicts_are_told(phantom_run: PhantomRun) -> None:
    verdicts = {series["series_number"]: series for series in phantom_run.run.result["input"]["series"]}
    assert {number: verdict["rank"] for number, verdict in verdicts.items()} == {1: None, 2: None, 3: 1}
    assert "SLICE_TOO_THICK" in [reason["code"] for reason in verdicts[1]["reasons"]]
    assert "LOCALIZER" in [reason["code"] for reason in verdicts[2]["reasons"]]
    assert not verdicts[3]["reasons"]


def test_skipped_files_are_told(phantom_run: PhantomRun) -> None:
    codes = {file["reason"]["code"] for file in phantom_run.run.result["input"]["skipped_files"]}
    assert codes == {"NOT_DICOM", "EMPTY_FILE"}


def test_flags_of_the_input_reach_the_result(phantom_run: PhantomRun) -> None:
    flags = {flag["code"] for flag in phantom_run.run.result["quality_flags"]}
    assert {"THICK_SLICES", "OTHER_KERNEL", "MODELS_PROVISIONAL"} <= flags


def test_every_stage_shows_its_progress(phantom_run: PhantomRun) -> None:
    stages = phantom_run.run.result["timings_s"]
    assert list(stages)[:4] == ["dicom_loader", "series_selector", "preprocessing", "lung_segmenter"]
    for number in range(1, len(stages) + 1):
        assert f"[{number}/{len(stages)}]" in phantom_run.run.log


def test_findings_are_printed_with_the_research_notice(phantom_run: PhantomRun) -> None:
    assert "Research use only" in phantom_run.run.log
    assert "CT severity score" in phantom_run.run.log


def test_no_identifier_reaches_logs_or_result(phantom_run: PhantomRun) -> None:
    text = (phantom_run.run.log + (phantom_run.run.out / "result.json").read_text()).casefold()
    planted = [part for value in PLANTED.values() for part in value.split("^")]
    assert not [part for part in planted if part.casefold() in text]


def small_study(folder: Path, *faults: Fault) -> Path:
    volume_hu = np.full((70, 32, 32), -1000, np.int16)
    volume_hu[:, 4:28, 4:28] = 40
    volume_hu[5:65, 8:24, 8:24] = -850
    write_study(volume_hu, folder, StudyOptions(spacing_mm=(2.5, 8, 8), faults=faults, **PLANTED))
    return folder


@pytest.mark.fault("files", "Empty folder", "exit code 4, `NoDicomError`")
def test_empty_folder_is_bad_input(tmp_path: Path, outcome: Outcome) -> None:
    (tmp_path / "study").mkdir()
    run = outcome(tmp_path / "study")
    assert run.exit_code == 4
    assert run.files == ["result.json"]
    assert run.result["reason"]["code"] == "NoDicomError"
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


@pytest.mark.fault("chest", "A body without lungs", "exit code 4, `NoLungError`")
def test_chest_without_lungs_is_refused(tmp_path: Path, outcome: Outcome) -> None:
    volume_hu = np.full((70, 32, 32), -1000, np.int16)
    volume_hu[:, 4:28, 4:28] = 40
    write_study(volume_hu, tmp_path / "study", StudyOptions(spacing_mm=(2.5, 8, 8)))
    run = outcome(tmp_path / "study")
    assert run.exit_code == 4
    assert run.result["reason"]["code"] == "NoLungError"


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
    assert run.result["reason"]["code"] == "ValueError"
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


@pytest.mark.parametrize("name", REAL_STUDIES)
def test_real_study_is_analysed_with_plausible_lungs(real_run: Callable[[str], Run], name: str) -> None:
    run = real_run(name)
    assert run.exit_code == 0, run.log
    assert 2000 < run.result["findings"]["total"]["lung_ml"] < 8000
    flags = {flag["code"] for flag in run.result["quality_flags"]}
    assert not flags & {"LOBE_MISSING", "LUNG_VOLUME_IMPLAUSIBLE", "LUNGS_ASYMMETRIC"}


@pytest.mark.parametrize("name", REAL_STUDIES)
def test_real_lung_mask_agrees_with_air_inside_the_chest(
    real_run: Callable[[str], Run], real_ct: Path, name: str
) -> None:
    """In every slice with lung; the reference is air enclosed by the body, less the windpipe."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(real_ct / "dicom" / name)))
    volume_hu = sitk.GetArrayFromImage(reader.Execute())
    lobes = sitk.GetArrayFromImage(sitk.ReadImage(real_run(name).out / "lobes.nii.gz")) > 0
    n_checked = 0
    for slice_hu, mask in zip(volume_hu, lobes, strict=True):
        air, _ = ndimage.label(slice_hu < -600)
        outer = np.unique(np.concatenate([air[0], air[-1], air[:, 0], air[:, -1]]))
        enclosed = (air > 0) & ~np.isin(air, outer)
        large = np.flatnonzero(np.bincount(air.ravel()) > 4000)
        lung_air = enclosed & np.isin(air, large)
        if lung_air.sum() > 15000:
            n_checked += 1
            assert mask[lung_air].mean() > 0.9
            assert (slice_hu[mask] < -300).mean() > 0.6
    assert n_checked > 0.5 * len(lobes)


def test_three_real_studies_among_junk_give_the_findings_of_the_best_series(
    real_run: Callable[[str], Run], real_ct: Path, tmp_path: Path
) -> None:
    """All are alike in thickness and kernel, so the one with most slices is analysed, and only it."""
    for name in REAL_STUDIES:
        shutil.copytree(real_ct / "dicom" / name, tmp_path / "in" / name, copy_function=os.symlink)
    (tmp_path / "in" / "notes.dcm").write_text("not DICOM")
    run, alone = run_application(tmp_path / "in", tmp_path / "out"), real_run("cap-cap001")
    assert run.exit_code == 0, run.log
    assert [series["rank"] for series in run.result["input"]["series"]] == [1, 2, 3]
    assert run.result["findings"] == alone.result["findings"]
    assert run.result["input"]["skipped_files"][0]["name"] == "notes.dcm"
    assert "SEVERAL_STUDIES" in {flag["code"] for flag in run.result["quality_flags"]}
