"""Made-up folders in the layouts in which the data sets are published."""

from __future__ import annotations

from pathlib import Path

import pytest

from lungct_research.datasets.layouts import LAYOUTS
from lungct_research.datasets.manifest import read_manifest
from lungct_research.training import command
from tests.lungct_research.command import lungct

FILES = {
    "covid_ct_md": (
        "COVID-19 subjects/P001/IM0001.dcm",
        "Cap subjects/cap001/IM0001.dcm",
        "Normal subjects/normal001/IM0001.dcm",
    ),
    "mosmed": ("studies/CT-0/study_0001.nii.gz", "studies/CT-3/study_0900.nii.gz"),
    "stoic": ("data/mha/7.mha", "data/mha/8.mha"),
    "ricord": (
        "MIDRC-RICORD-1A/MIDRC-RICORD-1A-419639-000082/study/series/1.dcm",
        "MIDRC-RICORD-1A/MIDRC-RICORD-1A-660042-000049/study/series/1.dcm",
        "MIDRC-RICORD-1B/MIDRC-RICORD-1B-419639-000001/study/series/1.dcm",
    ),
    "project": (
        "dicom/covid-P001/IM0001.dcm",
        "dicom/cap-cap001/IM0001.dcm",
        "dicom/normal-normal001/IM0001.dcm",
        "no_infection/lidc-0001.nii.gz",
    ),
    "cc_ccii": ("NCP/12/1001/1.png", "NCP/12/1002/1.png", "CP/12/3001/1.png", "Normal/5/1/1.png"),
}
ROWS = {
    "covid_ct_md": [
        ("P001", "covid-ct-md", "covid19"),
        ("cap001", "covid-ct-md", "other_infection"),
        ("normal001", "covid-ct-md", "no_infection"),
    ],
    "mosmed": [
        ("study_0001.nii.gz", "mosmed", "no_infection"),
        ("study_0900.nii.gz", "mosmed", "covid19"),
    ],
    "stoic": [("7.mha", "stoic", "covid19")],
    "ricord": [("study", "ricord-419639", "covid19"), ("study", "ricord-660042", "covid19")],
    "project": [
        ("covid-P001", "covid-ct-md", "covid19"),
        ("cap-cap001", "covid-ct-md", "other_infection"),
        ("normal-normal001", "covid-ct-md", "no_infection"),
        ("lidc-0001.nii.gz", "lidc", "no_infection"),
    ],
    "cc_ccii": [
        ("1001", "cc-ccii", "covid19"),
        ("1002", "cc-ccii", "covid19"),
        ("3001", "cc-ccii", "other_infection"),
        ("1", "cc-ccii", "no_infection"),
    ],
}
"""Last part of the path, institution and label."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_manifest_of_a_layout_reads_back(tmp_path: Path, layout: str) -> None:
    for name in FILES[layout]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    if layout == "stoic":
        (tmp_path / "metadata").mkdir()
        (tmp_path / "metadata/reference.csv").write_text("PatientID,probCOVID,probSevere\n7,1,0\n8,0,0\n")
    result = lungct("train", "manifest", "--layout", layout, tmp_path)
    (tmp_path / "manifest.csv").write_text(result.stdout)
    cases = read_manifest(tmp_path / "manifest.csv")
    assert [(case.path.name, case.institution, case.label) for case in cases] == ROWS[layout]
    n_left_out = {"stoic": "1 CTs left out", "ricord": "1 studies of 1b left out"}
    assert n_left_out.get(layout, "") in result.stderr


def test_scans_of_one_patient_share_the_patient_and_classes_do_not(tmp_path: Path) -> None:
    for name in FILES["cc_ccii"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    patients = [case.patient for case in LAYOUTS["cc_ccii"](tmp_path)]
    assert patients[0] == patients[1]
    assert len(set(patients)) == 3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_folder_is_refused_by_name(tmp_path: Path, layout: str) -> None:
    result = lungct("train", "manifest", "--layout", layout, tmp_path)
    assert (result.exit_code, str(tmp_path) in result.stderr) == (4, True)


def test_the_command_knows_every_layout() -> None:
    assert tuple(LAYOUTS) == command.LAYOUTS
