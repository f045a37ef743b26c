"""Train the opacity segmenter: ``python -m training.train_opacity --data DIR --out models/opacity``.

Slices come from real chests without infection and from synthetic ones, both with painted infections, and from
phantoms. For now crops at full size and AdamW replace the paper's growing slices and staged SGD, and
the loss looks at the lungs alone, because inference keeps nothing outside them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lungct.anatomy.opacities import BATCH_SLICES, opacity_probability
from lungct.networks import opacity_unet
from phantom.thorax import make_thorax
from training.cards import OPACITY
from training.common import (
    Evaluation,
    Options,
    Trainer,
    fit,
    initial_network,
    parse_options,
    run_script,
    step_generator,
)
from training.fields import FloatArray
from training.hosts import PHANTOM_PATTERNS, real_host, synthetic_host, with_confounder
from training.lesions import Host, Pattern, add_infection
from training.opacity_examples import (
    HOST_SPACING_MM,
    OUTSIDE_HU,
    PHANTOM_SPACING_MM,
    random_views,
    square,
    training_slices,
)
from training.volumes import read_grey_chest, read_split

FIRST_VALIDATION_PHANTOM = 910_000
N_VALIDATION_PHANTOMS = 6
GREY_CASES = ("vol1", "vol2", "vol5", "vol8")
CROP_SIZE, BATCH = 160, 8
OUTSIDE_WEIGHT = 0.01
POSITIVE_WEIGHT = 3.0
"""Of opacity in the cross-entropy, a tenth of the voxels inside the lungs."""
LEARNING_RATE = 1e-3
AVERAGE_DECAY = 0.99
INTERIM_THRESHOLD = 0.5
THRESHOLDS = tuple(np.arange(0.05, 0.81, 0.05).round(2).tolist())


def opacity_loss(logits: Tensor, masks: Tensor, lungs: Tensor) -> Tensor:
    """Binary cross-entropy plus Dice over the batch inside the lungs, all ``[batch, 1, rows, columns]``."""
    share = logits.sigmoid() * lungs
    dice = (2 * (share * masks).sum() + 50) / (share.sum() + masks.sum() + 50)
    weight = OUTSIDE_WEIGHT + (1 - OUTSIDE_WEIGHT) * lungs
    entropy = functional.binary_cross_entropy_with_logits(
        logits, masks, weight, reduction="sum", pos_weight=torch.tensor(POSITIVE_WEIGHT)
    )
    return entropy / weight.sum() + 0.5 * (1 - dice)


def train(options: Options) -> None:
    """Train, saving interim weights with every checkpoint."""
    slices = training_slices(options)
    network = initial_network(options, opacity_unet).to(memory_format=torch.channels_last)

    def loss_of_step(step: int, _: float) -> Tensor:
        generator = step_generator(options, step)
        picks = torch.randint(len(slices["image"]), (BATCH,), generator=generator).numpy()
        images = torch.from_numpy(slices["image"][picks]).float()
        masks, lungs = (torch.from_numpy(slices[key][picks]).float() / 255 for key in ("mask", "lungs"))
        views, masks, lungs = random_views(images, masks, lungs, CROP_SIZE, generator)
        return opacity_loss(network(views.contiguous(memory_format=torch.channels_last)), masks, lungs)

    trainer = Trainer(network, options.run_dir, LEARNING_RATE, AVERAGE_DECAY)
    fit(options, OPACITY, trainer, loss_of_step, {"threshold": INTERIM_THRESHOLD})


def probabilities(network: nn.Module, volume_hu: FloatArray) -> FloatArray:
    """Opacity probability on the volume's own grid."""
    parts = np.array_split(volume_hu, max(len(volume_hu) // BATCH_SLICES, 1))
    return np.concatenate([opacity_probability(part, network).numpy() for part in parts])


def dice_and_ml(found: np.ndarray, true: np.ndarray, voxel_ml: float = 1.0) -> dict[str, float]:
    """Dice (1 where both masks are empty) and both volumes in millilitres."""
    n_found, n_true = int(found.sum()), int(true.sum())
    dice = 2 * int((found & true).sum()) / (n_found + n_true) if n_found + n_true else 1.0
    return {
        "dice": round(dice, 3),
        "found_ml": round(n_found * voxel_ml, 1),
        "true_ml": round(n_true * voxel_ml, 1),
    }


def choose_threshold(options: Options, network: nn.Module) -> tuple[float, dict[str, Any]]:
    """Threshold of the best mean Dice on painted infections in hosts that training never saw."""
    rng = np.random.default_rng(7)
    real = [
        real_host(options.data, name, HOST_SPACING_MM) for name in read_split("real_chests")["validation"]
    ]
    anatomies = read_split("anatomies")["validation"][:2]
    synthetic = [synthetic_host(options.data, name, rng, HOST_SPACING_MM) for name in anatomies]
    cases = [
        _painted_case(host, pattern, network, rng)
        for host in (*real, *real, *synthetic)
        for pattern in Pattern
    ]
    table = np.array([[dice_and_ml(p > t, mask)["dice"] for p, mask in cases] for t in THRESHOLDS])
    best = int(table.mean(1).argmax())
    return THRESHOLDS[best], {"dice_mean": round(float(table[best].mean()), 3), "dice": table[best].tolist()}


def _painted_case(
    host: Host, pattern: Pattern, network: nn.Module, rng: np.random.Generator
) -> tuple[FloatArray, np.ndarray]:
    """Probability inside the lungs and true mask of every fourth slice."""
    volume_hu, mask = add_infection(with_confounder(host, rng), rng, pattern)
    lungs = square(host.lungs > 0, 0)[::4]
    return probabilities(network, square(volume_hu, OUTSIDE_HU)[::4]) * lungs, square(mask, 0)[::4]


def evaluate(options: Options, network: nn.Module) -> Evaluation:
    """Threshold, and Dice and volumes on painted validation cases, held-out phantoms and COVID-19 chests."""
    network = network.to(memory_format=torch.channels_last)
    threshold, painted = choose_threshold(options, network)
    seeds = range(FIRST_VALIDATION_PHANTOM, FIRST_VALIDATION_PHANTOM + N_VALIDATION_PHANTOMS)
    metrics = {
        "painted_validation": painted,
        "phantoms": {str(seed): _of_phantom(network, seed, threshold) for seed in seeds},
        "covid_grey_test_only": {name: _of_grey(options, network, name, threshold) for name in GREY_CASES},
    }
    return metrics, {"threshold": threshold}


def _of_phantom(network: nn.Module, seed: int, threshold: float) -> dict[str, float]:
    pattern = PHANTOM_PATTERNS[seed % len(PHANTOM_PATTERNS)]
    phantom = make_thorax(seed, spacing_mm=PHANTOM_SPACING_MM, pattern=pattern)
    found = probabilities(network, phantom.volume_hu.astype(np.float32)) > threshold
    return dice_and_ml(found & (phantom.lobes > 0), phantom.opacity > 0, phantom.voxel_ml)


def _of_grey(options: Options, network: nn.Module, name: str, threshold: float) -> dict[str, Any]:
    volume_hu, mask, spacing_mm = read_grey_chest(options.data, name)
    found = probabilities(network, square(volume_hu, OUTSIDE_HU)) > threshold
    true, lungs = square(mask == 1, 0), square(mask > 0, 0)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    inside = dice_and_ml(found & lungs, true, voxel_ml)
    return {"whole_slices": dice_and_ml(found, true, voxel_ml), "inside_expert_lungs": inside}


if __name__ == "__main__":
    run_script(OPACITY, opacity_unet, train, evaluate, parse_options(__doc__ or "", "models/opacity", 25))
