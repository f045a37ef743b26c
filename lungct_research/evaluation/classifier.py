"""Evaluation of the classifier on test cases, as a report and in the model card.

The temperature and the best cut-offs come from the validation cases.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
import polars as pl

from lungct.findings.classification import DECISION_CUT_OFF
from lungct.networks import Classifier3d
from lungct.networks.classifier3d import CLASSES
from lungct.networks.device import DeviceName, choose_device, keep_freed_memory
from lungct.networks.weights import METADATA_FILE, load_model
from lungct_research.datasets.manifest import ManifestError, read_manifest
from lungct_research.evaluation.agreement import N_RESAMPLES
from lungct_research.evaluation.classification import (
    FEWEST_IN_SUBGROUP,
    PAPER_VALUES,
    best_cut_offs,
    calibration_error,
    count_confusion,
    fit_temperature,
    measure_predictions,
    measure_subgroups,
)
from lungct_research.evaluation.model_cards import renew_card
from lungct_research.evaluation.plots import draw_classification
from lungct_research.evaluation.predictions import is_external, predict, read_predictions, select_part

TEMPLATE = Path(__file__).with_name("classifier.html.j2")
FAMILIAR_SHARE = 0.99
FEWEST_FOR_ENERGY = 100
"""Share of validation cases below the highest energy, and how many there must be to tell it. Own decision."""


@dataclass(frozen=True)
class Evidence:
    """Predictions to measure, and what is known about where they come from.

    Attributes:
        table: one row a case, as :func:`predict` gives it.
        is_external: the institutions of the test cases gave nothing to training.
        stored_temperature: used where there are no validation cases to fit another.
    """

    table: pl.DataFrame
    is_external: bool
    stored_temperature: float = 1.0


def report(evidence: Evidence, n_resamples: int = N_RESAMPLES) -> tuple[dict[str, Any], dict[str, str]]:
    """Measure the test cases.

    Args:
        evidence: probabilities at a temperature of 1.
        n_resamples: resamples of the bootstrap.

    Returns:
        All measures, for JSON, and the pictures: PNG in Base64 by title.

    Raises:
        ManifestError: there are no test cases.
    """
    raw, validation = (select_part(evidence.table, part) for part in ("test", "validation"))
    if not len(raw.labels):
        raise ManifestError(["there are no cases in test"])
    has_validation = bool(len(validation.labels))
    temperature = evidence.stored_temperature
    if has_validation:
        temperature = fit_temperature(validation.probabilities, validation.labels)
    test = raw.at_temperature(temperature)
    cut_offs = best_cut_offs(validation.at_temperature(temperature) if has_validation else test)
    found = measure_predictions(test, cut_offs, n_resamples)
    counts = Counter(CLASSES[label] for label in test.labels)
    result = {
        "n_cases": len(test.labels),
        "n_patients": len(set(test.patients)),
        "n_institutions": test.facts["institution"].n_unique(),
        "n_by_class": {name: counts[name] for name in CLASSES},
        "n_resamples": n_resamples,
        "is_external": evidence.is_external,
        "warnings": _collect_warnings(evidence, counts, has_validation),
        "measures": {name: estimate.rounded() for name, estimate in found.items()},
        "paper": dict(PAPER_VALUES),
        "confusion_rows_true": count_confusion(test).tolist(),
        "cut_offs": cut_offs,
        "cut_offs_chosen_on": "validation cases" if has_validation else "the test cases themselves",
        "temperature": temperature,
        "temperature_from": "fitted to the validation cases" if has_validation else "that of the model",
        "highest_energy": _find_highest_energy(evidence.table),
        "calibration": {
            name: round(calibration_error(one.probabilities, one.labels), 3)
            for name, one in (("before", raw), ("after", test))
        },
        "subgroups": measure_subgroups(test, n_resamples),
    }
    return result, draw_classification(test, found)


def _find_highest_energy(table: pl.DataFrame) -> float | None:
    """Return the energy above which a chest is unlike the validation cases, where enough of them have one."""
    if "energy" not in table.columns:
        return None
    energies = table.filter(pl.col("split") == "validation")["energy"]
    return energies.quantile(FAMILIAR_SHARE) if len(energies) >= FEWEST_FOR_ENERGY else None


def _collect_warnings(evidence: Evidence, counts: Counter[str], has_validation: bool) -> list[str]:
    found = [
        f"class {name} has {counts[name]} cases: no number about it is to be believed, nor its interval"
        for name in CLASSES
        if counts[name] < FEWEST_IN_SUBGROUP
    ]
    if not evidence.is_external:
        found.append("the institutions of these cases may have given cases to training: no external test")
    if not has_validation:
        found.append("without validation cases the best cut-offs are chosen on the test: they flatter")
    return found


def record(result: dict[str, Any], model_dir: Path) -> None:
    """Note temperature, highest energy and result in ``model.json``, and the result in the model card."""
    path = model_dir / METADATA_FILE
    described = json.loads(path.read_text(encoding="utf-8"))
    measured = {name: result[name] for name in ("temperature", "highest_energy")}
    described["parameters"] = described.get("parameters", {}) | {
        name: round(value, 4) for name, value in measured.items() if value is not None
    }
    kept = ("n_cases", "n_patients", "n_institutions", "n_by_class", "measures", "confusion_rows_true")
    described.setdefault("eval_metrics", {})["test"] = {name: result[name] for name in kept}
    described["validated_on"] = {
        "data": "external" if result["is_external"] else "internal",
        "cases": result["n_cases"],
        "institutions": result["n_institutions"],
    }
    path.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    renew_card(model_dir, described)


def read_evidence(path: Path) -> Evidence:
    """Take the predictions of any classifier from a file.

    Raises:
        ManifestError: the file makes no sense, see :func:`read_predictions`.
    """
    table = read_predictions(path)
    return Evidence(table, is_external(zip(table["split"], table["institution"], strict=True)))


def predict_manifest(path: Path, models: Path, device: DeviceName) -> Evidence:
    """Predict the cases of a manifest that training has not seen, with the classifier of ``models``.

    Raises:
        ManifestError: rows are wrong, a CT cannot be read, or training has seen a test case.
    """
    keep_freed_memory()
    chosen = choose_device(device)
    model = load_model(models, "classifier", Classifier3d, chosen)
    cases = read_manifest(path, "patient")
    external = is_external((case.split, case.institution) for case in cases)
    unseen = [case for case in cases if case.split != "train"]
    table = predict(unseen, model.network, models, chosen)
    return Evidence(table, external, model.parameters.get("temperature", 1.0))


def run(
    evidence: Evidence, out_dir: Path, n_resamples: int, *, external: bool, record_in: Path | None
) -> None:
    """Measure, and write the report as HTML and JSON, and the predictions.

    Args:
        evidence: predictions.
        out_dir: folder of the report, made where missing.
        n_resamples: resamples of the bootstrap.
        external: the institutions gave no case to training, whatever the manifest says.
        record_in: model folder in which the result is noted.
    """
    evidence = replace(evidence, is_external=evidence.is_external or external)
    result, pictures = report(evidence, n_resamples)
    template = jinja2.Template(TEMPLATE.read_text(encoding="utf-8"), autoescape=True)
    html = template.render(report=result, pictures=pictures, cut_off=DECISION_CUT_OFF)
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "classifier.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (out_dir / "classifier.html").write_text(html, encoding="utf-8")
    evidence.table.write_csv(out_dir / "predictions.csv")
    for text in result["warnings"]:
        print(f"warning: {text}")
    print(f"{result['n_cases']} cases: {out_dir / 'classifier.html'}")
    if record_in is not None:
        record(result, record_in)
