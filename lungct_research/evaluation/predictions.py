"""Predictions of a classifier as a table, made from the CTs of a manifest or read from a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import nn

from lungct.networks.classifier3d import CLASSES
from lungct_research.datasets.manifest import FACTS, ManifestError, ManifestRow
from lungct_research.datasets.site_examples import CachedCase, read_digests, site_examples
from lungct_research.evaluation.classification import Predictions


def predict(
    rows: Sequence[ManifestRow], network: nn.Module, models_dir: Path, device: torch.device
) -> pl.DataFrame:
    """Predict every CT of a manifest, see :func:`predict_cases`.

    Raises:
        ManifestError: a CT cannot be read, or a test case was seen in training.
    """
    cases = site_examples(rows, models_dir / "lungs", device)
    seen = set(read_digests(models_dir / "classifier"))
    problems = [
        f"row {case.row.row}: training has seen this CT, so it cannot test the classifier"
        for case in cases
        if case.sha256 in seen and case.row.split in (None, "test")
    ]
    if problems:
        raise ManifestError(problems)
    return predict_cases(cases, network, device)


def predict_cases(cases: Iterable[CachedCase], network: nn.Module, device: torch.device) -> pl.DataFrame:
    """Return the probabilities of every case at a temperature of 1, beside what is known about it."""
    rows = []
    for case in cases:
        with np.load(case.file) as arrays, torch.inference_mode():
            volume = torch.from_numpy(arrays["volume"]).to(device)
            logits = network(volume[None].float() / 255)[0]
        row = case.row
        rows.append(
            {"row": row.row, "patient": row.patient, "institution": row.institution}
            | {"split": row.split or "test", "label": row.label}
            | dict(zip(CLASSES, logits.softmax(0).tolist(), strict=True))
            | {"energy": -float(logits.logsumexp(0))}
            | {name: row.facts.get(name, "") for name in FACTS}
        )
    return pl.DataFrame(rows)


def read_predictions(path: Path) -> pl.DataFrame:
    """Read the predictions of any classifier from a CSV file.

    Args:
        path: columns ``label``, the three classes, and as many others of those that :func:`predict` gives as
            are known.

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
    shares = table.select(CLASSES).to_numpy()
    possible = (shares >= 0).all(axis=1) & (np.abs(shares.sum(axis=1) - 1) < 1e-3)
    problems += [
        f"row {row + 2}: the three are no probabilities that sum to 1" for row in np.flatnonzero(~possible)
    ]
    if problems or table.is_empty():
        raise ManifestError(problems or [f"{path.name} has no rows"])
    filled = {"patient": pl.int_range(pl.len()), "institution": pl.lit("unknown"), "split": pl.lit("test")}
    return table.with_columns(
        value.alias(name) for name, value in filled.items() if name not in table.columns
    )


def select_part(table: pl.DataFrame, part: str) -> Predictions:
    """Return the cases of one part: ``validation`` or ``test``."""
    rows = table.filter(pl.col("split") == part)
    facts = [name for name in ("institution", *FACTS) if name in rows.columns]
    return Predictions(
        rows.select(CLASSES).to_numpy(),
        np.array([CLASSES.index(label) for label in rows["label"]], int),
        rows["patient"].cast(pl.String).to_numpy(),
        rows.select(pl.col(facts).cast(pl.String).fill_null("")),
    )


def is_external(places: Iterable[tuple[str | None, str]]) -> bool:
    """Tell whether the test cases come from institutions that have cases in no other part.

    Args:
        places: part and institution of every case, those of training included.
    """
    places = list(places)
    test = {where for part, where in places if part == "test"}
    others = {where for part, where in places if part != "test"}
    return bool(test) and bool(others) and not others & test
