"""The whole graph through the real executor: outcomes, exit codes, files, logs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from scipy import ndimage

from lungct.records import Lobe
from lungct_research.evaluation.phantom import Comparison, compare
from tests.application_runs import DELIVERED, PLANTED, REAL_STUDIES, PhantomRun, Run, run_application


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
        shutil.copytree(real_ct / "dicom" / name, tmp_path / "in" / name)
    (tmp_path / "in" / "notes.dcm").write_text("not DICOM")
    run, alone = run_application(tmp_path / "in", tmp_path / "out"), real_run("cap-cap001")
    assert run.exit_code == 0, run.log
    assert [series["rank"] for series in run.result["input"]["series"]] == [1, 2, 3]
    assert run.result["findings"] == alone.result["findings"]
    assert run.result["input"]["skipped_files"][0]["name"] == "notes.dcm"
    assert "SEVERAL_STUDIES" in {flag["code"] for flag in run.result["quality_flags"]}
