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
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional

from lungct.findings.opacities import marked
from lungct.networks import opacity_unet
from lungct.networks.inputs import segmenter_input
from lungct.networks.int8_unet import Int8OpacityUnet, activation_maxima
from lungct.networks.opacity_unet import BATCH_SLICES, opacity_probability
from lungct.networks.weights import LoadedModel
from lungct_research.datasets.arrays import FloatArray, Spacing
from lungct_research.datasets.disease import INFECTIONS
from lungct_research.datasets.examples import Example
from lungct_research.datasets.volumes import read_grey_chest, read_split
from lungct_research.evaluation.agreement import dice
from lungct_research.evaluation.model_cards import Card, Evaluation, save_with_card
from lungct_research.evaluation.opacity_measures import dice_by_kind
from lungct_research.synthesis.hosts import (
    HOST_SPACING_MM,
    OUTSIDE_HU,
    PHANTOM_DISEASES,
    real_host,
    square,
    synthetic_host,
    with_confounder,
)
from lungct_research.synthesis.lesions import Kind, add_infection
from lungct_research.synthesis.phantom.thorax import Phantom, make_thorax
from lungct_research.training.cards import OPACITY
from lungct_research.training.common import (
    Options,
    channels_last,
    fit,
    initial_network,
    step_generator,
    train_and_evaluate,
)
from lungct_research.training.opacity_examples import PHANTOM_SPACING_MM, random_views, training_slices
from lungct_research.training.staged import StagedRecipe, train_by_stages
from lungct_research.training.trainer import Trainer

PAPER_RECIPE = Path(__file__).parent / "configs" / "opacity_paper.yaml"
VALIDATION_PHANTOMS = range(910_000, 910_006)
GREY_CASES = ("vol1", "vol2", "vol5", "vol8")
EVERY_FOURTH = slice(None, None, 4)
CROP_SIZE, BATCH = {"cpu": 160, "cuda": 224}, {"cpu": 8, "cuda": 32}
OUTSIDE_WEIGHT = 0.01
POSITIVE_WEIGHT = 3.0
"""Of opacity in the cross-entropy, a tenth of the voxels inside the lungs."""
LEARNING_RATE = 1e-3
AVERAGE_DECAY = 0.998
INTERIM = Evaluation(parameters={"threshold": 0.5})
NEARLY_BEST_DICE = 0.01
THRESHOLDS = tuple(np.arange(0.05, 0.81, 0.05).round(2).tolist())


def opacity_loss(logits: Tensor, masks: Tensor, lungs: Tensor) -> Tensor:
    """Binary cross-entropy plus Dice over the batch inside the lungs, all ``[batch, 1, rows, columns]``."""
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
    if options.config is not None:
        _train_staged(options, slices, options.config)
        return
    shown = {key: torch.from_numpy(array).to(options.device) for key, array in slices.items()}
    network = channels_last(initial_network(options, opacity_unet))
    batch, size = BATCH[options.device.type], CROP_SIZE[options.device.type]

    trainer = Trainer(network, options.run_dir, LEARNING_RATE, AVERAGE_DECAY, options.device)

    def loss_of_step(step: int, _: float) -> Tensor:
        generator = step_generator(options, step)
        picks = torch.randint(len(shown["image"]), (batch,), generator=generator, device=options.device)
        images = shown["image"][picks].float()
        masks, lungs = (shown[key][picks].float() / 255 for key in ("mask", "lungs"))
        views, masks, lungs = random_views(images, masks, lungs, size, generator)
        return opacity_loss(
            trainer.forward(views.contiguous(memory_format=torch.channels_last)), masks, lungs
        )

    fit(options, OPACITY, trainer, loss_of_step, INTERIM)


def _train_staged(options: Options, slices: Example, config: Path) -> None:
    recipe = StagedRecipe.model_validate(yaml.safe_load(config.read_text(encoding="utf-8")))
    checkpoint = options.run_dir / "stages.pt"
    if not options.resume:
        checkpoint.unlink(missing_ok=True)

    def save(network: nn.Module) -> None:
        save_with_card(options.out, card(options), network, INTERIM)

    network = initial_network(options, opacity_unet)
    train_by_stages(network, slices, recipe, options.device, options.seed, checkpoint, save)


def card(options: Options) -> Card:
    """What the model card says about how the weights were trained."""
    if options.config is None:
        return OPACITY
    limits = tuple(limit for limit in OPACITY.limits if "SGD" not in limit)
    return replace(OPACITY, limits=limits, history=f"in stages after {options.config.name}.")


def probabilities(network: nn.Module, volume_hu: FloatArray) -> FloatArray:
    """Opacity probability on the volume's own grid."""
    parts = np.array_split(volume_hu, max(len(volume_hu) // BATCH_SLICES, 1))
    return np.concatenate([opacity_probability(part, network).numpy() for part in parts])


def dice_and_ml(found: np.ndarray, true: np.ndarray, voxel_ml: float = 1.0) -> dict[str, float]:
    """Dice (1 where both masks are empty) and both volumes in millilitres."""
    return {
        "dice": round(dice(found, true), 3),
        "found_ml": round(int(found.sum()) * voxel_ml, 1),
        "true_ml": round(int(true.sum()) * voxel_ml, 1),
    }


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network sees in slices of a chest, true mask and kinds of painted lesions."""

    probability: FloatArray
    volume_hu: FloatArray
    lungs: np.ndarray
    mask: np.ndarray
    spacing_mm: Spacing
    kinds: np.ndarray | None = None

    def found(self, threshold: float) -> np.ndarray:
        """Mark opacities as the application would."""
        probability = torch.from_numpy(self.probability)
        return marked(probability, self.volume_hu, self.lungs, threshold, self.spacing_mm[2])

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.spacing_mm)) / 1000


def choose_threshold(cases: Sequence[Prediction]) -> tuple[float, dict[str, Any]]:
    """The threshold that finds the true volume, of those with nearly the best Dice.

    Dice hardly changes over a wide range of thresholds while the volume, which the report is about, does.
    Judged on painted infections in hosts that training never saw, and on held-out phantoms.
    """
    rows = [[dice_and_ml(c.found(t), c.mask, c.voxel_ml) for c in cases] for t in THRESHOLDS]
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
    """Mean Dice of every kind of lesion over the painted chests that have it."""
    found = [dice_by_kind(case.found(threshold), case.kinds) for case in cases if case.kinds is not None]
    return {
        str(kind): round(float(np.mean([chest[kind] for chest in found if kind in chest])), 3)
        for kind in Kind
        if any(kind in chest for chest in found)
    }


def agreement(cases: Sequence[Prediction], other: nn.Module, threshold: float) -> list[float]:
    """Dice of the masks of the cases with those of another network."""
    pairs = [(case, replace(case, probability=probabilities(other, case.volume_hu))) for case in cases]
    return [round(dice(one.found(threshold), two.found(threshold)), 4) for one, two in pairs]


def _painted_cases(options: Options, network: nn.Module) -> Iterator[Prediction]:
    rng = np.random.default_rng(7)
    real = [
        real_host(options.data, name, HOST_SPACING_MM) for name in read_split("real_chests")["validation"]
    ]
    anatomies = read_split("anatomies")["validation"][:2]
    synthetic = [synthetic_host(options.data, name, rng, HOST_SPACING_MM) for name in anatomies]
    for host in (*real, *real, *synthetic):
        for disease in INFECTIONS:
            volume_hu, mask, kinds = add_infection(with_confounder(host, rng), rng, disease)
            case = _case(network, volume_hu, host.lungs, mask, host.spacing_mm)
            yield replace(case, kinds=square(kinds, 0)[EVERY_FOURTH])


def _phantom_cases(network: nn.Module) -> Iterator[Prediction]:
    for seed in VALIDATION_PHANTOMS:
        phantom = _phantom(seed)
        if phantom.opacity.any():
            volume_hu = phantom.volume_hu.astype(np.float32)
            yield _case(network, volume_hu, phantom.lobes, phantom.opacity, PHANTOM_SPACING_MM)


def _case(
    network: nn.Module,
    volume_hu: FloatArray,
    lungs: np.ndarray,
    mask: np.ndarray,
    spacing_mm: Spacing,
    step: slice = EVERY_FOURTH,
) -> Prediction:
    whole_hu = square(volume_hu, OUTSIDE_HU)[step]
    inside, true = (square(part > 0, 0)[step] for part in (lungs, mask))
    return Prediction(probabilities(network, whole_hu), whole_hu, inside, true, spacing_mm)


def _phantom(seed: int) -> Phantom:
    disease = PHANTOM_DISEASES[seed % len(PHANTOM_DISEASES)]
    return make_thorax(seed, spacing_mm=PHANTOM_SPACING_MM, disease=disease)


def evaluate(options: Options, model: LoadedModel) -> Evaluation:
    """Threshold, and Dice and volumes on painted validation cases, held-out phantoms and COVID-19 chests."""
    network = channels_last(model.network)
    cases = [*_painted_cases(options, network), *_phantom_cases(network)]
    threshold, validation = choose_threshold(cases)
    maxima = activation_maxima(
        network.state_dict(), (segmenter_input(torch.from_numpy(case.volume_hu)) for case in cases)
    )
    metrics = {
        "painted_and_phantom_validation": validation,
        "dice_of_8_bits_with_32": agreement(cases, Int8OpacityUnet(network.state_dict(), maxima), threshold),
        "phantoms": {str(seed): _of_phantom(network, seed, threshold) for seed in VALIDATION_PHANTOMS},
        "covid_grey_test_only": {name: _of_grey(options, network, name, threshold) for name in GREY_CASES},
    }
    return Evaluation(metrics, {"threshold": threshold}, maxima)


def _of_phantom(network: nn.Module, seed: int, threshold: float) -> dict[str, float]:
    phantom = _phantom(seed)
    volume_hu = phantom.volume_hu.astype(np.float32)
    case = _case(network, volume_hu, phantom.lobes, phantom.opacity, PHANTOM_SPACING_MM, slice(None))
    return dice_and_ml(case.found(threshold), case.mask, case.voxel_ml)


def _of_grey(options: Options, network: nn.Module, name: str, threshold: float) -> dict[str, float]:
    """Inside the expert's lungs."""
    volume_hu, mask, spacing_mm = read_grey_chest(options.data, name)
    case = _case(network, volume_hu, mask, mask == 1, spacing_mm, slice(None))
    return dice_and_ml(case.found(threshold), case.mask, case.voxel_ml)


def run(options: Options) -> None:
    """Train unless only measuring was asked for, measure, and write the model folder."""
    train_and_evaluate(card(options), opacity_unet, train, evaluate, options)
