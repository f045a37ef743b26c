"""A run by epochs from its command line to the model folder, on the cases of a site or another cohort."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from lungct.networks import Classifier3d
from lungct.networks.weights import METADATA_FILE
from lungct_research.datasets.manifest import (
    PARTS,
    ManifestRow,
    Part,
    format_manifest,
    read_manifest,
    split_cases,
)
from lungct_research.datasets.site_examples import SEEN_FILE, CachedCase, read_digests, site_examples
from lungct_research.evaluation.model_cards import Card, Evaluation, save_with_card
from lungct_research.training.common import (
    RECIPES_DIR,
    Options,
    initial_network,
    prepare_process,
    read_card,
    read_recipe,
)
from lungct_research.training.epochs import EpochRecipe, EpochTrainer, Progress
from lungct_research.training.trainer import Processes, join_processes

PAPER_RECIPE = RECIPES_DIR / "classifier_paper.yaml"


@dataclass(frozen=True)
class Cohort:
    """Cases of all parts, and what the model card says about them."""

    cases: Sequence[CachedCase]
    card: Card

    def part(self, name: Part) -> list[CachedCase]:
        """Return the cases of one part."""
        return [case for case in self.cases if case.row.split == name]


def site_cohort(options: Options, processes: Processes) -> Cohort:
    """Make the cohort of the manifest; the first process makes the examples and writes down the split.

    Raises:
        LungCtError: rows of the manifest are wrong, or their CTs cannot be read.
    """
    if options.manifest is None:
        raise ValueError("a site's cohort needs a manifest")
    rows = split_cases(read_manifest(options.manifest, options.split_by), options.seed, options.split_by)
    with processes.first_alone():
        cases = site_examples(rows, options.lungs, options.device)
    rows = [case.row for case in cases]
    if processes.rank == 0:
        options.run_dir.mkdir(parents=True, exist_ok=True)
        (options.run_dir / "manifest.csv").write_text(format_manifest(rows), encoding="utf-8")
    return Cohort(cases, site_card(rows, options.start))


def site_card(cases: Sequence[ManifestRow], start: Path | None) -> Card:
    """Describe weights learned from the cases of a site for the model card, which names no one.

    Args:
        cases: of all parts.
        start: model whose weights training began with.
    """
    sizes = ", ".join(f"{part} {sum(case.split == part for case in cases)}" for part in PARTS)
    patients, institutions = ({getattr(case, unit) for case in cases} for unit in ("patient", "institution"))
    source = f"{len(cases)} CTs of {len(patients)} patients from {len(institutions)} institutions ({sizes})"
    source += ", labelled by the site that trained."
    licence = "Set by the site that trained these weights, after the terms of its data"
    if start is not None:
        described = json.loads((start / METADATA_FILE).read_text(encoding="utf-8"))
        origin = f"{start.name} {described['version']}. {described.get('license', '')}"
        source += f" Training began with other weights: {origin}"
        licence += " and of the weights that training began with"
    return replace(
        read_card("classifier", "site"),
        data_source=source,
        licence=f"{licence}.",
        changelog={f"site-{datetime.now(UTC):%Y%m%d}": "weights of a site"},
    )


def run_epochs(options: Options, make_cohort: Callable[[Options, Processes], Cohort]) -> None:
    """Train by epochs, on request from the last checkpoint, and write the model folder."""
    prepare_process(options.seed)
    recipe = read_recipe(options.config or PAPER_RECIPE, EpochRecipe)
    with join_processes(options.device) as processes:
        cohort = make_cohort(options, processes)
        seen = [case.sha256 for case in cohort.cases if case.sha256 and case.row.split != "test"]
        seen += read_digests(options.start)
        found = EpochTrainer(initial_network(options, Classifier3d), recipe, processes, options.run_dir)
        if options.resume:
            found.trainer.resume()

        def save() -> None:
            card, evaluation = describe_best(cohort, found.progress)
            save_with_card(options.out, card, found.network, evaluation)
            if seen:
                (options.out / SEEN_FILE).write_text("\n".join(seen) + "\n", encoding="utf-8")

        found.train(cohort.part("train"), cohort.part("validation"), options.seed, save)
        if processes.rank == 0:
            print(
                f"best epoch {found.progress.best_epoch} of {found.progress.epoch}: {options.out}", flush=True
            )


def describe_best(cohort: Cohort, progress: Progress) -> tuple[Card, Evaluation]:
    """Describe the weights of the best epoch so far for the model card."""
    history = f"epoch {progress.epoch}, the best so far on validation; {cohort.card.history}"
    measured = {
        "command": "lungct evaluate classifier --manifest FILE --models models --out DIR --record",
        "validation": {
            "cases": len(cohort.part("validation")),
            "accuracy": round(progress.best_accuracy, 3),
            "loss": round(progress.best_loss, 3),
        },
    }
    return replace(cohort.card, history=history), Evaluation(measured)
