"""``lungct phantom``: files on disk, table on the screen, truth where it was asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest

from lungct.records import Lobe
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.thorax import make_thorax
from tests.lungct_research.command import lungct

SMALL = ["--spacing", "10", "6", "6"]


def test_writes_a_study_and_its_truth(tmp_path: Path) -> None:
    study, truth_path = tmp_path / "study", tmp_path / "truth.json"
    result = lungct("phantom", study, "--seed", 4, "--pattern", "covid", *SMALL, "--truth", truth_path)
    assert result.exit_code == 0

    truth = json.loads(truth_path.read_text(encoding="utf-8"))
    phantom = make_thorax(4, (10, 6, 6), disease=Disease.COVID19)
    assert truth["seed"] == 4
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    for lobe in Lobe:
        assert truth["lobes"][lobe]["lung_ml"] == pytest.approx(phantom.lobe_ml[lobe], abs=0.001)
        assert truth["lobes"][lobe]["opacity_ml"] == pytest.approx(phantom.opacity_ml[lobe], abs=0.001)
        assert f"{phantom.lobe_ml[lobe]:.1f}" in lines[lobe]

    files = sorted(study.iterdir())
    assert len(files) == len(phantom.volume_hu)
    image = pydicom.dcmread(files[0])
    assert image.Modality == "CT"
    assert [float(mm) for mm in image.PixelSpacing] == [6, 6]


def test_truth_never_lies_inside_the_dicom_folder(tmp_path: Path) -> None:
    result = lungct("phantom", tmp_path / "study", "--truth", tmp_path / "study" / "truth.json")
    assert result.exit_code == 2
    assert "inside the DICOM folder" in result.stderr
    assert not (tmp_path / "study").exists()


def test_an_unknown_orientation_is_refused(tmp_path: Path) -> None:
    assert lungct("phantom", tmp_path, "--orientation", "upside-down").exit_code == 2


def test_chosen_opacity_lies_in_the_chosen_lobe(tmp_path: Path) -> None:
    truth_path = tmp_path / "truth.json"
    opacity = ["--opacity", "ground_glass", "right_lower", "60"]
    lungct("phantom", tmp_path / "study", "--spacing", 5, 3, 3, *opacity, "--truth", truth_path)
    opacity_ml = {
        lobe: volumes["opacity_ml"] for lobe, volumes in json.loads(truth_path.read_text())["lobes"].items()
    }
    assert opacity_ml.pop("right_lower") == pytest.approx(60, rel=0.1)
    assert set(opacity_ml.values()) == {0}


@pytest.mark.parametrize(
    "impossible",
    [["--enhanced", "--fault", "missing-slice"], ["--opacity", "ground_glass", "appendix", "60"]],
)
def test_what_cannot_be_made_is_refused_in_one_line(tmp_path: Path, impossible: list[str]) -> None:
    result = lungct("phantom", tmp_path / "study", *SMALL, *impossible)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("Error: ")
