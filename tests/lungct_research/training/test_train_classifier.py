"""The command line of the classifier's training, and the synthetic cohort as one more source of examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lungct.networks.classifier3d import CLASSES
from lungct_research.datasets.manifest import PARTS, ManifestRow
from lungct_research.training import train_classifier
from lungct_research.training.common import Options
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
    def three_patients(_: object, part: str, *__: object) -> list[Path]:
        files = [tmp_path / f"{part}-{label}.npz" for label in range(3)]
        for label, file in enumerate(files):
            np.savez(file, volume=np.zeros((1, 4, 4, 4), np.uint8), label=[label])
        return files

    monkeypatch.setattr(train_classifier, "cohort_files", three_patients)
    options = Options(tmp_path, tmp_path, minutes=1, seed=1, config=PAPER_RECIPE)
    found = train_classifier.synthetic_cohort(options, Processes(CPU))
    for part in PARTS:
        assert [(item.file.stem, item.index, item.label) for item in found.parts[part]] == [
            (f"{part}-{label}", 0, label) for label in range(3)
        ]
    assert found.card.validated_on == {"data": "synthetic", "cases": 300, "institutions": 6}
    assert "classifier_paper.yaml" in found.card.history
    assert not any("minutes" in limit for limit in found.card.limits)


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
