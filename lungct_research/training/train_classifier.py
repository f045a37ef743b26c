"""Train the classifier, as ``lungct train classifier`` does.

The cohort is synthetic (:mod:`lungct_research.training.cohort`). With a manifest the cases of a site take its
place, and training goes by epochs as in the paper; with a recipe alone it goes by epochs on the synthetic
cohort. Both run under ``torchrun`` too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lungct.findings.classification import decide
from lungct.networks import Classifier3d
from lungct.networks.classifier3d import CLASSES
from lungct.networks.inputs import CLASSIFIER_SHAPE
from lungct.networks.weights import LoadedModel
from lungct.records import Probabilities
from lungct_research.datasets.examples import join_examples, load_examples
from lungct_research.datasets.layouts import project
from lungct_research.datasets.manifest import FACTS, PARTS
from lungct_research.evaluation.model_cards import Evaluation
from lungct_research.training.augment import random_intensity, random_warp
from lungct_research.training.cohort import make_patients
from lungct_research.training.common import (
    Forward,
    Options,
    Recipe,
    fit,
    initial_network,
    read_card,
    train_and_evaluate,
)
from lungct_research.training.epoch_runs import Cohort, run_epochs, site_cohort
from lungct_research.training.trainer import Processes


@dataclass(frozen=True)
class Stage:
    """Size and number of the volumes in a step, until a share of the time is used."""

    until: float
    shape: tuple[int, int, int]
    batch: int


HALF_SHAPE = (32, 112, 112)
STAGES = {
    "cpu": (Stage(0.25, (24, 80, 80), 16), Stage(1.0, HALF_SHAPE, 10)),
    "cuda": (Stage(0.3, HALF_SHAPE, 32), Stage(1.0, CLASSIFIER_SHAPE, 16)),
}
"""At half the size a step is eight times as fast, and where a lesion lies shows at a third already."""
RECIPE = Recipe(learning_rate=1e-3, average_decay=0.998)
KEPT_MEASURES = (
    "measures",
    "confusion_rows_true",
    "n_by_class",
    "n_institutions",
    "calibration",
    "subgroups",
)
"""Parts of an evaluation that the model card keeps."""


def random_views(volumes: Tensor, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Move volumes and change their intensity inside the lungs, ``[batch, 1, *shape]``."""
    views = []
    for volume in volumes:
        grid = random_warp(shape, generator, max_degrees=8, max_scale=0.1, bend_voxels=1.0)
        moved = functional.grid_sample(volume[None, None], grid, align_corners=False)
        views.append(random_intensity(moved, generator) * (moved > 0.02))
    return torch.cat(views)


def train(options: Options) -> None:
    """Train, saving interim weights with every checkpoint."""
    examples = join_examples(load_examples(case.file for case in make_patients(options, "train")))
    volumes, labels = (torch.from_numpy(examples[key]).to(options.device) for key in ("volume", "label"))
    network, stages = initial_network(options, Classifier3d), STAGES[options.device.type]
    # The weights that are saved will shrink whole volumes to the size of the last stage (ADR 0028).
    network.shrink = CLASSIFIER_SHAPE[0] // stages[-1].shape[0]

    def loss_of_step(forward: Forward, generator: torch.Generator, share: float) -> Tensor:
        network.shrink = 1  # views have shrunk already
        stage = next(stage for stage in stages if share < stage.until)
        picks = torch.randint(len(labels), (stage.batch,), generator=generator, device=options.device)
        views = random_views(volumes[picks].float() / 255, stage.shape, generator)
        return functional.cross_entropy(forward(views), labels[picks], label_smoothing=0.05)

    fit(options, read_card("classifier"), network, RECIPE, loss_of_step)


def evaluate(options: Options, model: LoadedModel) -> Evaluation:
    """Measure on institutions that training never saw; the temperature comes from the validation ones."""
    # What only measuring needs, and training machines may lack.
    from lungct_research.evaluation.classifier import Evidence, report
    from lungct_research.evaluation.predictions import predict_cases

    network = model.network.to(options.device)
    cases = [*make_patients(options, "validation"), *make_patients(options, "test")]
    table = predict_cases(cases, network, options.device).drop(FACTS)  # synthetic scanners have no vendor
    result, _ = report(Evidence(table, is_external=True))
    parameters = {name: round(result[name], 4) for name in ("temperature", "highest_energy") if result[name]}
    shown = demonstration(options, network, result["temperature"])
    measured = {name: result[name] for name in KEPT_MEASURES}
    return Evaluation({"test": measured, "real_chests_demonstration": shown}, parameters)


def demonstration(options: Options, network: nn.Module, temperature: float) -> dict[str, dict[str, Any]]:
    """Return label, probabilities and finding of the project's real chests: too few to prove anything."""
    from lungct_research.evaluation.classification import at_temperature
    from lungct_research.evaluation.predictions import predict

    rows = list(project(options.data))
    table = predict(rows, network, options.lungs.parent, options.device)
    shares = at_temperature(table.select(CLASSES).to_numpy(), temperature)
    shown = {}
    for row, values in zip(rows, shares.tolist(), strict=True):
        probabilities = dict(zip(CLASSES, values, strict=True))
        rounded = {name: round(share, 2) for name, share in probabilities.items()}
        finding = str(decide(Probabilities(**probabilities)))
        shown[row.patient] = {"label": row.label, **rounded, "finding": finding}
    return shown


def synthetic_cohort(options: Options, processes: Processes) -> Cohort:
    """Make the cohort of synthetic patients, in the first process."""
    with processes.first_alone():
        cases = [case for part in PARTS for case in make_patients(options, part)]
    card, name = read_card("classifier"), options.config.name if options.config else ""
    limits = tuple(limit for limit in card.limits if "minutes" not in limit)
    return Cohort(cases, replace(card, limits=limits, history=f"by epochs after {name}."))


def run(options: Options) -> None:
    """Train on the synthetic cohort, or by epochs where a manifest or a recipe is given.

    Raises:
        LungCtError: rows of the manifest are wrong, or their CTs cannot be read.
    """
    if options.manifest is not None:
        run_epochs(options, site_cohort)
    elif options.config is not None:
        run_epochs(options, synthetic_cohort)
    else:
        train_and_evaluate(read_card("classifier"), Classifier3d, train, evaluate, options)
