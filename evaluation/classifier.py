"""How good the classifier is: ``python -m evaluation.classifier --manifest FILE --models models --out DIR``.

Measures the test cases of a manifest (all cases where it has no column ``split``), or of ``--predictions
FILE``, and writes ``classifier.html``, ``classifier.json`` and ``predictions.csv``. The temperature and the
best cut-offs come from the validation cases. ``--record`` notes temperature and result in ``model.json``,
where the application and its reports find them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import polars as pl
import torch
from torch import nn

from evaluation.agreement import N_RESAMPLES
from evaluation.calibration import at_temperature, expected_calibration_error, fitted_temperature
from evaluation.classification import (
    PAPER_VALUES,
    Predictions,
    best_cut_offs,
    confusion,
    measures,
    subgroups,
)
from evaluation.classification_plots import pictures
from lungct.errors import LungCtError
from lungct.findings.classification import DECISION_CUT_OFF
from lungct.inference.device import choose_device, keep_freed_memory
from lungct.inference.weights import METADATA_FILE, load_model
from lungct.networks import Classifier3d
from lungct.networks.classifier3d import CLASSES
from training.epoch_runs import SEEN_FILE
from training.manifest import FACTS, Case, ManifestError, read_manifest
from training.site_examples import site_examples, voxel_digests, with_facts

TEMPLATE = Path(__file__).with_name("classifier.html.j2")
GROUPING = ("institution", *FACTS)


@dataclass(frozen=True)
class Evidence:
    """What is measured, and what is known about where it comes from.

    Attributes:
        table: one row a case: what :func:`predict` gives.
        is_external: the institutions of the test cases gave nothing to training.
    """

    table: pl.DataFrame
    is_external: bool


def predict(
    cases: Sequence[Case], network: nn.Module, models_dir: Path, device: torch.device
) -> pl.DataFrame:
    """Probabilities at a temperature of 1 of every case, beside what the manifest says.

    Raises:
        ManifestError: a CT cannot be read, or a test case was seen in training.
    """
    files = site_examples(cases, models_dir / "lungs", device)
    cases = with_facts(cases, files)
    _require_unseen(cases, voxel_digests(files), models_dir / "classifier" / SEEN_FILE)
    rows = []
    for case, file in zip(cases, files, strict=True):
        with np.load(file) as arrays, torch.inference_mode():
            volume = torch.from_numpy(arrays["volume"]).to(device)
            shares = network(volume[None].float() / 255).softmax(1)[0].tolist()
        known = {name: case.facts.get(name, "") for name in FACTS}
        rows.append(
            {"row": case.row, "patient": case.patient, "institution": case.institution}
            | {"split": case.split or "test", "label": case.label}
            | dict(zip(CLASSES, shares, strict=True))
            | known
        )
    return pl.DataFrame(rows)


def _require_unseen(cases: Sequence[Case], digests: Sequence[str], seen_file: Path) -> None:
    seen = set(seen_file.read_text(encoding="utf-8").split()) if seen_file.exists() else set()
    problems = [
        f"row {case.row}: training has seen this CT, so it cannot test the classifier"
        for case, digest in zip(cases, digests, strict=True)
        if digest in seen and case.split in (None, "test")
    ]
    if problems:
        raise ManifestError(problems)


def read_predictions(path: Path) -> pl.DataFrame:
    """Predictions of any classifier: columns ``label``, the three classes, and as many others as are known.

    Raises:
        ManifestError: columns are missing, a label is unknown, or probabilities do not sum to one.
    """
    try:
        table = pl.read_csv(path, schema_overrides=dict.fromkeys(CLASSES, pl.Float64))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ManifestError([f"{path.name} cannot be read as CSV"]) from error
    missing = [name for name in ("label", *CLASSES) if name not in table.columns]
    if missing:
        raise ManifestError(f"{path.name} lacks the column {name}" for name in missing)
    problems = [
        f"row {row}: label {label!r} is unknown: expected {', '.join(CLASSES)}"
        for row, label in enumerate(table["label"], 2)
        if label not in CLASSES
    ]
    sums = table.select(CLASSES).to_numpy().sum(axis=1)
    wrong = np.flatnonzero(~(np.abs(sums - 1) < 1e-3))
    problems += [f"row {row + 2}: the probabilities sum to {sums[row]:.3f} instead of 1" for row in wrong]
    if problems or table.is_empty():
        raise ManifestError(problems or [f"{path.name} has no rows"])
    filled = {"patient": pl.int_range(pl.len()), "institution": pl.lit("unknown"), "split": pl.lit("test")}
    return table.with_columns(
        value.alias(name) for name, value in filled.items() if name not in table.columns
    )


def predictions_of(table: pl.DataFrame, part: str) -> Predictions:
    """The cases of one part."""
    rows = table.filter(pl.col("split") == part)
    grouping = [name for name in GROUPING if name in rows.columns]
    facts = [
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in rows.select(grouping).to_dicts()
    ]
    labels = np.array([CLASSES.index(label) for label in rows["label"]], int)
    patients = rows["patient"].cast(pl.String).to_numpy()
    return Predictions(rows.select(CLASSES).to_numpy(), labels, patients, facts)


def is_external(places: Iterable[tuple[str | None, str]]) -> bool:
    """Whether the test cases come from institutions that have cases in no other part.

    Args:
        places: part and institution of every case, those of training included.
    """
    places = list(places)
    test, others = (
        {where for part, where in places if (part == "test") is wanted} for wanted in (True, False)
    )
    return bool(others) and not others & test


def report(
    evidence: Evidence, stored_temperature: float, n_resamples: int = N_RESAMPLES
) -> tuple[dict[str, Any], dict[str, str]]:
    """Everything measured, for JSON, and the pictures.

    Args:
        evidence: probabilities at a temperature of 1.
        stored_temperature: used where there are no validation cases to fit another.
        n_resamples: of the bootstrap.

    Raises:
        ManifestError: there are no test cases.
    """
    raw, validation = (predictions_of(evidence.table, part) for part in ("test", "validation"))
    if not len(raw):
        raise ManifestError(["there are no cases in test"])
    has_validation = bool(len(validation))
    temperature = (
        fitted_temperature(validation.probabilities, validation.labels)
        if has_validation
        else stored_temperature
    )
    test, chooser = (
        predictions.with_probabilities(at_temperature(predictions.probabilities, temperature))
        for predictions in (raw, validation if has_validation else raw)
    )
    cut_offs = best_cut_offs(chooser)
    found = measures(test, cut_offs, n_resamples)
    counts = Counter(CLASSES[label] for label in test.labels)
    result = {
        "n_cases": len(test),
        "n_patients": len(set(test.patients)),
        "n_institutions": len({facts["institution"] for facts in test.facts}),
        "n_by_class": {name: counts[name] for name in CLASSES},
        "n_resamples": n_resamples,
        "is_external": evidence.is_external,
        "warnings": _warnings(evidence, counts, has_validation),
        "measures": {name: estimate.rounded() for name, estimate in found.items()},
        "paper": dict(PAPER_VALUES),
        "confusion_rows_true": confusion(test).tolist(),
        "cut_offs": cut_offs,
        "cut_offs_chosen_on": "validation cases" if has_validation else "the test cases themselves",
        "temperature": temperature,
        "temperature_from": "fitted to the validation cases" if has_validation else "that of the model",
        "calibration": {
            name: round(expected_calibration_error(one.probabilities, one.labels), 3)
            for name, one in (("before", raw), ("after", test))
        },
        "subgroups": subgroups(test, n_resamples),
    }
    return result, pictures(test, found)


def _warnings(evidence: Evidence, counts: Counter[str], has_validation: bool) -> list[str]:
    found = [f"class {name} has no cases: nothing is said about it" for name in CLASSES if not counts[name]]
    if not evidence.is_external:
        found.append("the institutions of these cases may have given cases to training: no external test")
    if not has_validation:
        found.append("without validation cases the best cut-offs are chosen on the test: they flatter")
    return found


def write(result: dict[str, Any], drawn: dict[str, str], table: pl.DataFrame, out_dir: Path) -> None:
    """The report as HTML and JSON, and the predictions."""
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "classifier.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    template = jinja2.Environment(autoescape=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    html = template.render(report=result, pictures=drawn, cut_off=DECISION_CUT_OFF)
    (out_dir / "classifier.html").write_text(html, encoding="utf-8")
    table.write_csv(out_dir / "predictions.csv")


def record(result: dict[str, Any], model_dir: Path) -> None:
    """Note temperature and result in ``model.json``, where the application and its reports find them."""
    path = model_dir / METADATA_FILE
    described = json.loads(path.read_text(encoding="utf-8"))
    described.setdefault("parameters", {})["temperature"] = round(result["temperature"], 4)
    kept = ("n_cases", "n_patients", "n_institutions", "n_by_class", "measures", "confusion_rows_true")
    described["eval_metrics"]["test"] = {name: result[name] for name in kept}
    described["validated_on"] = {
        "data": "external" if result["is_external"] else "internal",
        "cases": result["n_cases"],
        "institutions": result["n_institutions"],
    }
    path.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Measure, write, and on request record; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--manifest", type=Path, help="that of a training run, or cases of another site")
    source.add_argument("--predictions", type=Path, help="CSV of probabilities at a temperature of 1")
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--out", type=Path, default=Path("runs/evaluation"))
    parser.add_argument("--external", action="store_true", help="these institutions gave nothing to training")
    parser.add_argument("--record", action="store_true", help="note the result in model.json")
    parser.add_argument("--resamples", type=int, default=N_RESAMPLES, help="of the bootstrap")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    arguments = parser.parse_args()
    if arguments.record and arguments.predictions:
        parser.error("--record needs --manifest: nobody knows which model the predictions are of")
    try:
        return _run(arguments)
    except LungCtError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _run(arguments: argparse.Namespace) -> int:
    keep_freed_memory()
    temperature = 1.0
    if arguments.predictions:
        table = read_predictions(arguments.predictions)
        external = is_external(zip(table["split"], table["institution"], strict=True))
    else:
        device = choose_device(arguments.device)
        model = load_model(arguments.models, "classifier", Classifier3d, device)
        temperature = model.parameters.get("temperature", temperature)
        cases = read_manifest(arguments.manifest, "patient")
        external = is_external((case.split, case.institution) for case in cases)
        unseen = [case for case in cases if case.split != "train"]
        table = predict(unseen, model.network, arguments.models, device)
    evidence = Evidence(table, arguments.external or external)
    result, drawn = report(evidence, temperature, arguments.resamples)
    write(result, drawn, table, arguments.out)
    for text in result["warnings"]:
        print(f"warning: {text}")
    print(f"{result['n_cases']} cases: {arguments.out / 'classifier.html'}")
    if arguments.record:
        record(result, arguments.models / "classifier")
    return 0


if __name__ == "__main__":
    sys.exit(main())
