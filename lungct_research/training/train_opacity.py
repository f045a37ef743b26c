"""Train the opacity segmenter, as ``lungct train opacity`` does.

Slices come from real chests without infection and from synthetic ones, both with painted infections, and from
phantoms. For now crops at full size and AdamW replace the paper's growing slices and staged SGD, and
the loss looks at the lungs alone, because inference keeps nothing outside them. The paper's own training
runs with ``--config lungct_research/training/configs/opacity_paper.yaml``; its length is in epochs, not in
``--minutes``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lungct.findings.opacities import mark_opacities
from lungct.networks import opacity_unet
from lungct.networks.inputs import segmenter_input
from lungct.networks.int8_unet import Int8OpacityUnet, activation_maxima
from lungct.networks.opacity_unet import BATCH_SLICES, opacity_probability
from lungct.networks.weights import LoadedModel
from lungct_research.datasets.arrays import FloatArray, Spacing
from lungct_research.datasets.case import Case, require_known
from lungct_research.datasets.disease import INFECTIONS
from lungct_research.datasets.sets import medseg
from lungct_research.datasets.volumes import read_split
from lungct_research.evaluation.agreement import dice
from lungct_research.evaluation.cases import make_phantom_case, paint_case
from lungct_research.evaluation.model_cards import Card, Evaluation
from lungct_research.evaluation.opacity_measures import dice_by_kind
from lungct_research.synthesis.hosts import (
    HOST_SPACING_MM,
    OUTSIDE_HU,
    real_host,
    square,
    synthetic_host,
    with_confounder,
)
from lungct_research.synthesis.lesions import Kind
from lungct_research.training.common import (
    Forward,
    Options,
    Recipe,
    fit,
    initial_network,
    read_card,
    read_recipe,
    train_and_evaluate,
)
from lungct_research.training.opacity_examples import PHANTOM_SPACING_MM, random_views, training_slices
from lungct_research.training.staged import StagedRecipe, train_by_stages

VALIDATION_PHANTOMS = range(910_000, 910_006)
EVERY_FOURTH, EVERY_SLICE = slice(None, None, 4), slice(None)
CROP_SIZE, BATCH = {"cpu": 160, "cuda": 224}, {"cpu": 8, "cuda": 32}
OUTSIDE_WEIGHT = 0.01
POSITIVE_WEIGHT = 3.0
"""Weight of opacity in the cross-entropy: it fills a tenth of the voxels inside the lungs. Own decision."""
RECIPE = Recipe(learning_rate=1e-3, average_decay=0.998)
INTERIM = Evaluation(parameters={"threshold": 0.5})
NEARLY_BEST_DICE = 0.01
THRESHOLDS = tuple(np.arange(0.05, 0.81, 0.05).round(2).tolist())


def opacity_loss(logits: Tensor, masks: Tensor, lungs: Tensor) -> Tensor:
    """Return binary cross-entropy plus Dice inside the lungs, all ``[batch, 1, rows, columns]``."""
    share = logits.sigmoid() * lungs
    dice = (2 * (share * masks).sum() + 50) / (share.sum() + masks.sum() + 50)
    weight = OUTSIDE_WEIGHT + (1 - OUTSIDE_WEIGHT) * lungs
    entropy = functional.binary_cross_entropy_with_logits(
        logits, masks, weight, reduction="sum", pos_weight=masks.new_tensor(POSITIVE_WEIGHT)
    )
    return entropy / weight.sum() + 0.5 * (1 - dice)


def train(options: Options) -> None:
    """Train, saving interim weights with every checkpoint; in stages where a recipe is named."""
    slices = training_slices(options)
    network = initial_network(options, opacity_unet)
    if options.config is not None:
        recipe = read_recipe(options.config, StagedRecipe)
        train_by_stages(options, make_card(options), network, recipe, slices, INTERIM)
        return
    shown = {key: torch.from_numpy(array).to(options.device) for key, array in slices.items()}
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch, size = BATCH[options.device.type], CROP_SIZE[options.device.type]

    def loss_of_step(forward: Forward, generator: torch.Generator, _: float) -> Tensor:
        picks = torch.randint(len(shown["image"]), (batch,), generator=generator, device=options.device)
        images = shown["image"][picks].float()
        masks, lungs = (shown[key][picks].float() / 255 for key in ("mask", "lungs"))
        views, masks, lungs = random_views(images, masks, lungs, size, generator)
        return opacity_loss(forward(views.contiguous(memory_format=torch.channels_last)), masks, lungs)

    fit(options, make_card(options), network, RECIPE, loss_of_step, INTERIM)


def make_card(options: Options) -> Card:
    """Describe for the model card how the weights were trained."""
    usual = read_card("opacity")
    if options.config is None:
        return usual
    limits = tuple(limit for limit in usual.limits if "SGD" not in limit)
    return replace(usual, limits=limits, history=f"in stages after {options.config.name}.")


@dataclass(frozen=True, eq=False)
class Prediction:
    """Probabilities in slices of a chest, with the true mask and the kinds of painted lesions."""

    probability: FloatArray
    volume_hu: FloatArray
    lungs: np.ndarray
    mask: np.ndarray
    spacing_mm: Spacing
    kinds: np.ndarray | None = None

    def find(self, threshold: float) -> np.ndarray:
        """Mark opacities as the application would."""
        probability = torch.from_numpy(self.probability)
        return mark_opacities(probability, self.volume_hu, self.lungs, threshold, self.spacing_mm[2])

    def measure(self, threshold: float) -> dict[str, float]:
        """Return Dice (1 where both masks are empty) and both volumes in millilitres."""
        found, voxel_ml = self.find(threshold), float(np.prod(self.spacing_mm)) / 1000
        return {
            "dice": round(dice(found, self.mask), 3),
            "found_ml": round(int(found.sum()) * voxel_ml, 1),
            "true_ml": round(int(self.mask.sum()) * voxel_ml, 1),
        }


def predict(network: nn.Module, case: Case, slices: slice = EVERY_FOURTH) -> Prediction:
    """Run the network on some slices of a chest, padded to squares."""
    volume_hu = square(case.volume.volume_hu.astype(np.float32), OUTSIDE_HU)[slices]
    lungs = square(require_known(case.lungs, case.name, "lungs") > 0, 0)[slices]
    mask = square(require_known(case.opacity, case.name, "opacities") > 0, 0)[slices]
    kinds = None if case.kinds is None else square(case.kinds, 0)[slices]
    probability = _probabilities(network, volume_hu)
    return Prediction(probability, volume_hu, lungs, mask, case.volume.spacing_mm, kinds)


def _probabilities(network: nn.Module, volume_hu: FloatArray) -> FloatArray:
    parts = np.array_split(volume_hu, max(len(volume_hu) // BATCH_SLICES, 1))
    return np.concatenate([opacity_probability(part, network).numpy() for part in parts])


def choose_threshold(cases: Sequence[Prediction]) -> tuple[float, dict[str, Any]]:
    """Choose the threshold that finds the true volume, of those with nearly the best Dice.

    Dice hardly changes over a wide range of thresholds while the volume, which the report is about, does.
    Judged on painted infections in hosts that training never saw, and on held-out phantoms.
    """
    rows = [[case.measure(threshold) for case in cases] for threshold in THRESHOLDS]
    dice = np.array([[case["dice"] for case in row] for row in rows])
    bias = np.array([sum(c["found_ml"] for c in row) / sum(c["true_ml"] for c in row) - 1 for row in rows])
    good = dice.mean(1) >= dice.mean(1).max() - NEARLY_BEST_DICE
    best = int(np.where(good, np.abs(bias), np.inf).argmin())
    return THRESHOLDS[best], {
        "dice_mean": round(float(dice[best].mean()), 3),
        "volume_error": round(float(bias[best]), 3),
        "dice": dice[best].tolist(),
        "dice_by_kind": mean_dice_by_kind(cases, THRESHOLDS[best]),
    }


def mean_dice_by_kind(cases: Sequence[Prediction], threshold: float) -> dict[str, float]:
    """Return the mean Dice of every kind of lesion over the painted chests that have it."""
    found = [dice_by_kind(case.find(threshold), case.kinds) for case in cases if case.kinds is not None]
    return {
        str(kind): round(float(np.mean([chest[kind] for chest in found if kind in chest])), 3)
        for kind in Kind
        if any(kind in chest for chest in found)
    }


def compare_masks(cases: Sequence[Prediction], other: nn.Module, threshold: float) -> list[float]:
    """Return the Dice of the masks of the cases with those of another network."""
    pairs = [(case, replace(case, probability=_probabilities(other, case.volume_hu))) for case in cases]
    return [round(dice(one.find(threshold), two.find(threshold)), 4) for one, two in pairs]


def paint_validation_cases(data_dir: Path) -> Iterator[Case]:
    """Paint both diseases into real and synthetic chests that training never saw."""
    rng = np.random.default_rng(7)
    splits = read_split("real_chests")["validation"], read_split("anatomies")["validation"][:2]
    real = [real_host(data_dir, name, HOST_SPACING_MM) for name in splits[0]]
    synthetic = [synthetic_host(data_dir, name, rng, HOST_SPACING_MM) for name in splits[1]]
    for host in (*real, *real, *synthetic):
        for disease in INFECTIONS:
            yield paint_case("painted", with_confounder(host, rng), rng, disease)


def evaluate(options: Options, model: LoadedModel) -> Evaluation:
    """Find the threshold, and Dice and volumes on painted cases, held-out phantoms and COVID-19 chests."""
    network = model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    phantoms = {str(seed): make_phantom_case(seed, PHANTOM_SPACING_MM) for seed in VALIDATION_PHANTOMS}
    chests = chain(paint_validation_cases(options.data), phantoms.values())
    cases = [predict(network, case) for case in chests if np.any(case.opacity)]
    threshold, validation = choose_threshold(cases)
    maxima = activation_maxima(
        network.state_dict(), (segmenter_input(torch.from_numpy(case.volume_hu)) for case in cases)
    )
    integers = Int8OpacityUnet(network.state_dict(), maxima)

    def measure(case: Case) -> dict[str, float]:
        return predict(network, case, EVERY_SLICE).measure(threshold)

    metrics = {
        "painted_and_phantom_validation": validation,
        "dice_of_8_bits_with_32": compare_masks(cases, integers, threshold),
        "phantoms": {seed: measure(case) for seed, case in phantoms.items()},
        "covid_grey_test_only": {case.name: measure(case) for case in medseg(options.data)},
    }
    return Evaluation(metrics, {"threshold": threshold}, maxima)


def run(options: Options) -> None:
    """Train unless only measuring was asked for, measure, and write the model folder."""
    train_and_evaluate(make_card(options), opacity_unet, train, evaluate, options)
