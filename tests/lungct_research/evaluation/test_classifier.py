"""The evaluation of predictions from a file to the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from click.testing import Result
from torch import nn

from lungct.networks.classifier3d import CLASSES
from lungct_research.datasets.manifest import ManifestError, ManifestRow
from lungct_research.datasets.site_examples import SEEN_FILE, CachedCase
from lungct_research.evaluation import classifier
from lungct_research.evaluation.predictions import is_external, predict
from tests.lungct_research.command import lungct
from tests.lungct_research.evaluation.test_classification import random_predictions

N = 60


def table(sharpness: float = 2.0, **columns: list[str]) -> pl.DataFrame:
    one = random_predictions(N, sharpness=sharpness)
    data = {name: one.probabilities[:, i] for i, name in enumerate(CLASSES)}
    return pl.DataFrame({"label": [CLASSES[label] for label in one.labels], **data, **columns})


def run(folder: Path, predictions: pl.DataFrame, *options: str) -> Result:
    predictions.write_csv(folder / "predictions.csv")
    words = ["--predictions", folder / "predictions.csv", "--out", folder / "out", "--resamples", 4]
    return lungct("evaluate", "classifier", *words, *options)


PARTS = ["validation"] * 20 + ["test"] * 40


def test_the_test_cases_are_measured_beside_the_paper(tmp_path: Path) -> None:
    sites = ["north"] * 20 + ["south"] * 40
    assert run(tmp_path, table(5.0, split=PARTS, institution=sites)).exit_code == 0
    found = json.loads((tmp_path / "out" / "classifier.json").read_text())
    assert (found["n_cases"], found["n_institutions"], found["is_external"]) == (40, 1, True)
    assert sum(map(sum, found["confusion_rows_true"])) == 40
    assert found["temperature"] > 1.2
    assert found["temperature_from"] == "fitted to the validation cases"
    assert found["paper"]["auroc/micro"] == 0.93
    page = (tmp_path / "out" / "classifier.html").read_text()
    assert "rule/covid19/sensitivity" in page
    assert page.count("data:image/png;base64") == 4


def test_without_validation_cases_the_report_says_that_it_flatters(tmp_path: Path) -> None:
    result = run(tmp_path, table())
    found = json.loads((tmp_path / "out" / "classifier.json").read_text())
    assert found["temperature"] == 1
    assert any("flatter" in text for text in found["warnings"])
    assert any("no external test" in text for text in found["warnings"])
    assert "flatter" in result.stdout


def test_an_institution_on_both_sides_makes_no_external_test(tmp_path: Path) -> None:
    assert run(tmp_path, table(split=PARTS, institution=["north"] * N)).exit_code == 0
    assert not json.loads((tmp_path / "out" / "classifier.json").read_text())["is_external"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pl.lit("covid").alias("label"), "row 2: label 'covid' is unknown"),
        ((2 * pl.col("covid19")).alias("covid19"), "row 2: the three are no probabilities"),
        (pl.Series("other_infection", [-0.1] * N), "row 2: the three are no probabilities"),
        (pl.lit("train").alias("split"), "there are no cases in test"),
    ],
)
def test_predictions_that_make_no_sense_are_refused(
    tmp_path: Path,
    change: pl.Expr | pl.Series,
    message: str,
) -> None:
    result = run(tmp_path, table().with_columns(change))
    assert (result.exit_code, result.stderr.startswith(f"Error: {message}")) == (4, True)


@pytest.mark.parametrize(
    ("places", "external"),
    [
        ([("train", "a"), ("validation", "b"), ("test", "c")], True),
        ([("train", "a"), ("validation", "b"), ("test", "b")], False),
        ([("test", "a")], False),
        ([(None, "a"), (None, "b")], False),
    ],
)
def test_a_test_is_external_where_all_other_parts_are_known_to_lie_elsewhere(
    places: list[tuple[str | None, str]], external: bool
) -> None:
    assert is_external(places) is external


def test_a_ct_that_training_has_seen_cannot_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is called now; in validation it may stand."""
    cases = [
        ManifestRow(row, tmp_path / f"{row}.nii", f"p{row}", "west", "covid19", split=part)
        for row, part in ((2, "validation"), (3, None), (4, "test"))
    ]
    cached = [CachedCase(case, case.path, str(case.row)) for case in cases]
    monkeypatch.setattr("lungct_research.evaluation.predictions.site_examples", lambda *_: cached)
    (tmp_path / "classifier").mkdir()
    (tmp_path / "classifier" / SEEN_FILE).write_text("2\n3\n4\n")
    with pytest.raises(ManifestError) as caught:
        predict(cases, nn.Identity(), tmp_path, torch.device("cpu"))
    assert str(caught.value).splitlines() == [
        f"row {row}: training has seen this CT, so it cannot test the classifier" for row in (3, 4)
    ]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    result = run(tmp_path, table().drop("no_infection"))
    assert (result.exit_code, result.stderr) == (4, "Error: predictions.csv lacks the column no_infection\n")


@pytest.mark.parametrize(("n_validation", "highest"), [(100, 98.01), (99, None)])
def test_the_highest_energy_is_that_of_99_of_100_validation_cases(
    tmp_path: Path, n_validation: int, highest: float | None
) -> None:
    cases = pl.concat([table()] * 3)[: n_validation + 60].with_columns(
        split=pl.Series(["validation"] * n_validation + ["test"] * 60),
        energy=pl.Series([*map(float, range(n_validation)), *[1000.0] * 60]),
        patient=pl.int_range(pl.len()),
        institution=pl.lit("north"),
    )
    result, _ = classifier.report(classifier.Evidence(cases, is_external=False), n_resamples=2)
    assert result["highest_energy"] == pytest.approx(highest, abs=1)
    model = tmp_path / "model.json"
    model.write_text('{"parameters": {"temperature": 9.0}}')
    (tmp_path / "README.md").write_text("**Parameters.** `{}`\n\n```json\n{}\n```\n\nMade by us.\n")
    classifier.record(result, tmp_path)
    described = json.loads(model.read_text())
    assert ("highest_energy" in described["parameters"]) is (highest is not None)
    assert described["parameters"]["temperature"] != 9
    assert described["validated_on"] == {"data": "internal", "cases": 60, "institutions": 1}
    card = (tmp_path / "README.md").read_text()
    assert '"n_cases": 60' in card
    assert card.startswith('**Parameters.** `{"temperature": ')
    assert card.endswith("\n```\n\nMade by us.\n")


def test_predictions_of_an_unknown_model_are_not_recorded(tmp_path: Path) -> None:
    assert run(tmp_path, table(), "--record").exit_code == 2


def test_a_report_of_one_case_measures_what_it_can(tmp_path: Path) -> None:
    assert run(tmp_path, table()[:1]).exit_code == 0
    found = json.loads((tmp_path / "out" / "classifier.json").read_text())
    assert found["measures"]["auroc/macro"]["value"] is None
    assert np.isfinite(found["measures"]["accuracy/rule"]["value"])
