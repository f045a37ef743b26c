"""A run by epochs from its command line to the model folder, on the cases of a site or another cohort."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from torch import nn

from lungct.networks import Classifier3d
from lungct.networks.weights import METADATA_FILE
from lungct_research.datasets.manifest import (
    PARTS,
    ManifestRow,
    Part,
    SplitBy,
    manifest_csv,
    read_manifest,
    split_cases,
)
from lungct_research.datasets.site_examples import (
    SEEN_FILE,
    digests_of,
    site_examples,
    voxel_digests,
    with_facts,
)
from lungct_research.evaluation.model_cards import PAPER, Card, Evaluation, save_with_card
from lungct_research.training.cards import CLASSIFIER
from lungct_research.training.common import Options, initial_network, prepare_process, read_recipe
from lungct_research.training.epochs import EpochRecipe, EpochTrainer, Item, Progress
from lungct_research.training.processes import Processes, joined_processes

PAPER_RECIPE = Path(__file__).parent / "configs" / "classifier_paper.yaml"


@dataclass(frozen=True)
class EpochOptions(Options):
    """Options of a training run of the classifier.

    Attributes:
        manifest: cases of a site; None for the synthetic cohort.
        split_by: see :func:`lungct_research.datasets.manifest.read_manifest`.
        lungs: model that segments lungs where the manifest names no mask.
    """

    manifest: Path | None = None
    split_by: SplitBy | None = None
    lungs: Path = Path("models/lungs")


@dataclass(frozen=True)
class Cohort:
    """What is learned from, by part, and what the model card says about it."""

    parts: Mapping[Part, Sequence[Item]]
    card: Card
    digests: Sequence[str] = ()


def labelled_items(files: Sequence[Path]) -> list[Item]:
    """All volumes of examples that hold their labels."""
    labels = []
    for file in files:
        with np.load(file) as arrays:
            labels += [Item(file, index, int(label)) for index, label in enumerate(arrays["label"])]
    return labels


def site_cohort(options: EpochOptions, processes: Processes) -> Cohort:
    """The cases of the manifest; the first process makes the examples and writes down the split."""
    if options.manifest is None:
        raise ValueError("a site's cohort needs a manifest")
    cases = split_cases(read_manifest(options.manifest, options.split_by), options.seed, options.split_by)
    with processes.first_alone():
        files = site_examples(cases, options.lungs, options.device)
    cases = with_facts(cases, files)
    if processes.is_first:
        options.run_dir.mkdir(parents=True, exist_ok=True)
        (options.run_dir / "manifest.csv").write_text(manifest_csv(cases), encoding="utf-8")
    parts = {
        part: [
            Item(file, 0, case.label_index)
            for case, file in zip(cases, files, strict=True)
            if case.split == part
        ]
        for part in PARTS
    }
    seen = [file for case, file in zip(cases, files, strict=True) if case.split != "test"]
    return Cohort(parts, site_card(cases, options.start), [*voxel_digests(seen), *digests_of(options.start)])


def site_card(cases: Sequence[ManifestRow], start: Path | None) -> Card:
    """What the model card says about weights learned from the cases of a site; it names no one.

    Args:
        cases: of all parts.
        start: model whose weights training began with.
    """
    version = f"site-{datetime.now(UTC):%Y%m%d}"
    sizes = ", ".join(f"{part} {sum(case.split == part for case in cases)}" for part in PARTS)
    patients, institutions = ({getattr(case, unit) for case in cases} for unit in ("patient", "institution"))
    source = f"{len(cases)} CTs of {len(patients)} patients from {len(institutions)} institutions ({sizes})"
    begun = "" if start is None else f" Training began with other weights: {_origin(start)}"
    return replace(
        CLASSIFIER,
        command="--manifest FILE",
        data_source=f"{source}, labelled by the site that trained.{begun}",
        data_type="series of a site",
        licence="Set by the site that trained these weights, after the terms of its data"
        + (" and of the weights that training began with." if begun else "."),
        limits=("Measured on too little, or on nothing but its own institutions, a model proves nothing.",),
        history="the run's log has all epochs.",
        changelog={version: "weights of a site"},
        references=(PAPER,),
        measured_on="the site's own cases",
        validated_on=None,
    )


def _origin(model_dir: Path) -> str:
    described = json.loads((model_dir / METADATA_FILE).read_text(encoding="utf-8"))
    return f"{model_dir.name} {described['version']}. {described.get('license', '')}"


def run_epochs(options: EpochOptions, source: Callable[[EpochOptions, Processes], Cohort]) -> None:
    """Train by epochs, on request from the last checkpoint, and write the model folder."""
    prepare_process(options.seed)
    recipe = read_recipe(options.config or PAPER_RECIPE, EpochRecipe)
    with joined_processes(options.device) as processes:
        cohort = source(options, processes)
        options.run_dir.mkdir(parents=True, exist_ok=True)
        trainer = EpochTrainer(initial_network(options, Classifier3d), recipe, processes, options.run_dir)
        if options.resume:
            trainer.resume()

        def save(network: nn.Module) -> None:
            _save(options, cohort, network, trainer.progress)

        trainer.train(cohort.parts["train"], cohort.parts["validation"], options.seed, save)
        if processes.is_first:
            progress = trainer.progress
            print(f"best epoch {progress.best_epoch} of {progress.epoch}: {options.out}", flush=True)


def _save(options: EpochOptions, cohort: Cohort, network: nn.Module, progress: Progress) -> None:
    best = f"epoch {progress.epoch}, the best so far on validation"
    card = replace(cohort.card, history=f"{best}; {cohort.card.history}")
    metrics = {
        "command": "lungct evaluate classifier --manifest FILE --models models --out DIR --record",
        "validation": {
            "cases": len(cohort.parts["validation"]),
            "accuracy": round(progress.best_accuracy, 3),
            "loss": round(progress.best_loss, 3),
        },
    }
    save_with_card(options.out, card, network, Evaluation(metrics))
    if cohort.digests:
        (options.out / SEEN_FILE).write_text("\n".join(cohort.digests) + "\n", encoding="utf-8")
