"""The command line of the classifier's training, and the synthetic cohort as one more source of examples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lungct.networks.classifier3d import CLASSES
from lungct_research.datasets.manifest import PARTS, ManifestRow, Part
from lungct_research.datasets.site_examples import CachedCase
from lungct_research.training import train_classifier
from lungct_research.training.cohort import INSTITUTIONS, PATIENTS
from lungct_research.training.common import Options, read_card
from lungct_research.training.epoch_runs import PAPER_RECIPE, site_card
from lungct_research.training.trainer import Processes
from tests.lungct_research.command import lungct

CPU = torch.device("cpu")


def test_a_wrong_manifest_ends_with_code_4_and_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,patient,institution,label\ngone,p,north,covid\n")
    result = lungct("train", "classifier", "--manifest", manifest, "--device", "cpu")
    assert result.exit_code == 4
    assert result.stderr.splitlines() == [
        "Error: row 2: label 'covid' is unknown: did you mean 'covid19'?",
        "row 2: path does not exist",
    ]


def test_evaluation_of_a_site_is_sent_to_its_own_command(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").touch()
    result = lungct("train", "classifier", "--manifest", tmp_path / "cases.csv", "--evaluate")
    assert result.exit_code == 2
    assert "lungct evaluate classifier" in result.stderr


def test_the_synthetic_cohort_trains_by_epochs_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_patient(_: object, part: Part) -> list[CachedCase]:
        return [CachedCase(ManifestRow(0, tmp_path, f"{part}-0", "north", CLASSES[0], split=part), tmp_path)]

    monkeypatch.setattr(train_classifier, "make_patients", one_patient)
    options = Options(tmp_path, tmp_path, minutes=1, seed=1, config=PAPER_RECIPE)
    found = train_classifier.synthetic_cohort(options, Processes(CPU))
    assert [[case.row.patient for case in found.part(part)] for part in PARTS] == [
        ["train-0"],
        ["validation-0"],
        ["test-0"],
    ]
    assert "classifier_paper.yaml" in found.card.history
    assert not any("minutes" in limit for limit in found.card.limits)


def test_the_card_says_how_large_the_synthetic_test_is() -> None:
    measured = {"data": "synthetic", "cases": PATIENTS["test"], "institutions": len(INSTITUTIONS["test"])}
    assert read_card("classifier").validated_on == measured


def test_the_card_of_a_site_names_no_one_and_the_weights_it_began_with(tmp_path: Path) -> None:
    cases = [
        ManifestRow(2 + i, tmp_path, f"Doe^{i}", "St. Elsewhere", CLASSES[i], split=part)
        for i, part in enumerate(PARTS)
    ]
    (tmp_path / "model.json").write_text('{"version": "7", "license": "share alike"}')
    alone, begun = (site_card(cases, start) for start in (None, tmp_path))
    for card in (alone, begun):
        assert "Doe" not in repr(card)
        assert "Elsewhere" not in repr(card)
    assert alone.data_source.startswith(
        "3 CTs of 3 patients from 1 institutions (train 1, validation 1, test 1)"
    )
    assert f"{tmp_path.name} 7. share alike" in begun.data_source
    assert "weights that training began with" in begun.licence
