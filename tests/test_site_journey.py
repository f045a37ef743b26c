"""The way of a site with its own CTs, by the commands of docs/how-to/train-on-own-data.md."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from lungct.networks.classifier3d import CLASSES
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions
from lungct_research.synthesis.phantom.thorax import make_thorax
from lungct_research.training.epoch_runs import PAPER_RECIPE
from tests.application_runs import made_once

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "how-to" / "train-on-own-data.md"
SPACING_MM = (3.0, 5.0, 5.0)
STUDY_SPACING_MM = (8.0, 5.0, 5.0)
"""Of the study that is analysed at the end: few slices, for speed."""

PARTS = {"north": ("train", 2), "south": ("validation", 1), "east": ("test", 1)}
"""Part of an institution, and CTs of each class."""

PROGRAMS = {
    ".venv/bin/python": [sys.executable],
    ".venv/bin/lungct": [sys.executable, "-m", "lungct"],
}
"""What runs here for a program of the page."""

TINY = {"shape": [16, 56, 56], "epochs": 2, "batch": 4, "learning_rate": 1e-3}


def write_cohort(folder: Path) -> None:
    """Twelve phantoms; of all but one the lungs are known."""
    rows = ["path,patient,institution,label,split,mask"]
    for institution, (part, n_each) in PARTS.items():
        for label in CLASSES * n_each:
            seed = len(rows)
            phantom = make_thorax(seed, SPACING_MM, disease=Disease(label))
            name = f"{institution}/{seed}"
            options = StudyOptions(
                seed=seed, spacing_mm=SPACING_MM, slice_thickness_mm=3.0, patient_id=f"id {seed}"
            )
            write_study(phantom.volume_hu, folder / name, options)
            mask = "" if seed == 12 else f"{institution}/{seed}.nii.gz"
            if mask:
                write_mask(folder / mask, phantom.lobes)
            rows.append(f"{name},patient {seed},{institution},{label},{part},{mask}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")


def write_mask(path: Path, lobes: np.ndarray) -> None:
    """On the grid on which ``write_study`` centres a volume."""
    slice_mm, row_mm, column_mm = SPACING_MM
    affine = np.diag([-column_mm, -row_mm, slice_mm, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(lobes.shape[::-1]) - 1) / 2)
    nibabel.save(nibabel.Nifti1Image(lobes.transpose(2, 1, 0), affine), path)


def commands() -> list[str]:
    """Every line of the page's shell blocks from the second step on."""
    text = PAGE.read_text(encoding="utf-8")
    steps = text[text.index("## 2. Train") :]
    return [line for block in re.findall(r"```sh\n(.*?)```", steps, re.DOTALL) for line in block.splitlines()]


@dataclass(frozen=True)
class Journey:
    """Where it led."""

    folder: Path
    log: str


@pytest.fixture(scope="session")
def journey(common_folder: Path) -> Journey:
    return made_once(common_folder / "site_journey", take)


def take(folder: Path) -> Journey:
    """All steps, one after the other."""
    write_cohort(folder)
    (folder / "models").symlink_to(ROOT / "models")
    (folder / "app").symlink_to(ROOT / "app")
    write_study(
        make_thorax(13, STUDY_SPACING_MM, disease=Disease.COVID19).volume_hu,
        folder / "study",
        StudyOptions(seed=13, spacing_mm=STUDY_SPACING_MM),
    )
    recipe = yaml.safe_load(PAPER_RECIPE.read_text()) | TINY
    recipe["augmentation"]["elastic_sigma"] = [2, 3]
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    settings = yaml.safe_load((ROOT / "app.yaml").read_text())
    settings["lungct"]["selection"]["max_slice_thickness_mm"] = STUDY_SPACING_MM[0]
    settings["lungct"]["outputs"] |= {"airways_vessels": False, "label_maps": False, "report_pdf": False}
    settings["lungct"]["outputs"]["dicom"] = dict.fromkeys(
        ("segmentations", "structured_report", "encapsulated_pdf", "secondary_captures"), False
    )
    (folder / "quick.yaml").write_text(yaml.safe_dump(settings))
    smaller = {
        "train": ["--config", "tiny.yaml", "--device", "cpu"],
        "evaluate": ["--resamples", "20", "--device", "cpu"],
        "app": ["-s", "quick.yaml"],
    }
    log = ""
    for line in commands():
        words = [part for word in shlex.split(line) for part in PROGRAMS.get(word, [word])]
        words += next((extra for name, extra in smaller.items() if name in words), [])
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        run = subprocess.run(  # noqa: S603
            words, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, f"{line}\n{run.stdout}\n{run.stderr}"
        log += run.stdout + run.stderr
    return Journey(folder, log)


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_the_page_has_the_commands_of_all_steps() -> None:
    programs = [shlex.split(line) for line in commands()]
    assert [words[0] for words in programs[:2]] == ["mkdir", "cp"]
    assert [words[:3] for words in programs[2:]] == [
        [".venv/bin/lungct", "train", "classifier"],
        [".venv/bin/lungct", "evaluate", "classifier"],
        [".venv/bin/python", "app", "-i"],
    ]


def test_training_writes_down_its_division_and_its_best_epoch(journey: Journey) -> None:
    rows = (journey.folder / "runs/classifier/manifest.csv").read_text().splitlines()
    assert len(rows) == 13
    card = read(journey.folder / "site/classifier/model.json")
    assert card["data_source"].startswith("12 CTs of 12 patients from 3 institutions (train 6,")
    assert card["eval_metrics"]["validation"]["cases"] == 3
    assert "best epoch" in journey.log


def test_the_test_institution_is_measured_and_recorded(journey: Journey) -> None:
    found = read(journey.folder / "evaluation/classifier.json")
    assert (found["n_cases"], found["is_external"]) == (3, True)
    card = read(journey.folder / "site/classifier/model.json")
    assert card["validated_on"] == {"data": "external", "cases": 3, "institutions": 1}
    assert card["parameters"]["temperature"] == pytest.approx(found["temperature"], abs=1e-4)
    assert card["provisional"] is True


def test_the_application_uses_the_weights_and_says_what_they_are_worth(journey: Journey) -> None:
    used = next(
        model
        for model in read(journey.folder / "results/result.json")["models"]
        if model["name"] == "classifier"
    )
    card = read(journey.folder / "site/classifier/model.json")
    assert (used["sha256"], used["version"]) == (card["sha256"], card["version"])
    assert used["version"].startswith("site-")
    assert used["validated_on"] == card["validated_on"]
    page = (journey.folder / "results/report.html").read_text()
    assert "Validated on 3 CTs of institutions that training did not see (number: 1)" in page


def test_no_patient_is_in_the_log_or_in_the_model(journey: Journey) -> None:
    model = "".join(path.read_text() for path in (journey.folder / "site/classifier").glob("*[!s]"))
    for text in (journey.log, model):
        assert not re.search(r"patient \d|id \d", text)
