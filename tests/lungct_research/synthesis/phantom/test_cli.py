"""``python -m lungct_research.synthesis.phantom``: files on disk, table on the screen, truth where it was asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest

from lungct.records import Lobe
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.__main__ import main
from lungct_research.synthesis.phantom.thorax import make_thorax

SMALL = ["--spacing", "10", "6", "6"]


def test_writes_a_study_and_its_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, truth_path = tmp_path / "study", tmp_path / "truth.json"
    assert main([str(study), "--seed", "4", "--pattern", "covid", *SMALL, "--truth", str(truth_path)]) == 0

    truth = json.loads(truth_path.read_text(encoding="utf-8"))
    phantom = make_thorax(4, (10, 6, 6), disease=Disease.COVID19)
    assert truth["seed"] == 4
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    for lobe in Lobe:
        assert truth["lobes"][lobe]["lung_ml"] == pytest.approx(phantom.lobe_ml[lobe], abs=0.001)
        assert truth["lobes"][lobe]["opacity_ml"] == pytest.approx(phantom.opacity_ml[lobe], abs=0.001)
        assert f"{phantom.lobe_ml[lobe]:.1f}" in lines[lobe]

    files = sorted(study.iterdir())
    assert len(files) == len(phantom.volume_hu)
    image = pydicom.dcmread(files[0])
    assert image.Modality == "CT"
    assert [float(mm) for mm in image.PixelSpacing] == [6, 6]


def test_truth_never_lies_inside_the_dicom_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "study"), "--truth", str(tmp_path / "study" / "truth.json")])
    assert ended.value.code == 2
    assert "inside the DICOM folder" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_an_unknown_orientation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), "--orientation", "upside-down"])
    assert ended.value.code == 2


def test_chosen_opacity_lies_in_the_chosen_lobe(tmp_path: Path) -> None:
    truth_path = tmp_path / "truth.json"
    opacity = ["--opacity", "ground_glass", "right_lower", "60"]
    main([str(tmp_path / "study"), "--spacing", "5", "3", "3", *opacity, "--truth", str(truth_path)])
    opacity_ml = {
        lobe: volumes["opacity_ml"] for lobe, volumes in json.loads(truth_path.read_text())["lobes"].items()
    }
    assert opacity_ml.pop("right_lower") == pytest.approx(60, rel=0.1)
    assert set(opacity_ml.values()) == {0}


@pytest.mark.parametrize(
    "impossible",
    [["--enhanced", "--fault", "missing-slice"], ["--opacity", "ground_glass", "appendix", "60"]],
)
def test_what_cannot_be_made_is_refused_in_one_line(
    tmp_path: Path, impossible: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "study"), *SMALL, *impossible])
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err.splitlines()[-1]
