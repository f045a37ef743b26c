"""Train the lung and lobe network: ``python -m training.train_lobes --data DIR --out models/lungs``.

Examples are synthetic chests around expert lobes, phantoms, and real chests without infection, of which only
the lungs are known: there the loss sees the sum of the five lobes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lungct.anatomy.lungs import coarse_grid, coarse_probabilities
from lungct.networks import lobe_unet
from lungct.records import Lobe
from phantom.thorax import make_thorax
from training.cards import LUNGS
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
from training.fields import FloatArray, Spacing
from training.hosts import PHANTOM_PATTERNS
from training.lobe_examples import (
    SYNTHESIS_SPACING_MM,
    augmented,
    training_examples,
)
from training.synthesis import make_chest
from training.volumes import read_anatomy, read_nifti, read_real_chest, read_split

FIRST_VALIDATION_PHANTOM = 900_000
N_VALIDATION_PHANTOMS = 9
LEARNING_RATE = 3e-3
AVERAGE_DECAY = 0.98
SMOKE_REFERENCE = "lidc-0001"


def lobe_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy plus Dice on class shares; with two target classes the lobes count as one lung.

    Args:
        logits: ``[batch, 6, slices, rows, columns]``.
        target: shares of 6 classes, or of background and lung.
        weight: ``[batch, 1, ...]``, 0 where nothing is known.
    """
    share = functional.softmax(logits, dim=1)
    if target.shape[1] == 2:
        share = torch.cat([share[:, :1], share[:, 1:].sum(1, keepdim=True)], dim=1)
    entropy = -(target * share.clamp_min(1e-6).log() * weight).sum(1).mean()
    share, target = (share * weight)[:, 1:], (target * weight)[:, 1:]
    dims = (0, 2, 3, 4)
    overlap = 2 * (share * target).sum(dims) + 1
    dice = overlap / (share.square().sum(dims) + target.square().sum(dims) + 1)
    return entropy + (1 - dice).mean()


def train(options: Options) -> None:
    """Train, saving interim weights with every checkpoint."""
    examples = training_examples(options)
    network = initial_network(options, lobe_unet)

    def loss_of_step(step: int, _: float) -> Tensor:
        generator = step_generator(options, step)
        index = int(torch.randint(len(examples), (1,), generator=generator))
        image, target, weight = augmented(examples[index], generator)
        return lobe_loss(network(image), target, weight)

    fit(options, LUNGS, Trainer(network, options.run_dir, LEARNING_RATE, AVERAGE_DECAY), loss_of_step)


def dice_and_volume_error(
    network: nn.Module, volume_hu: FloatArray, spacing_mm: Spacing, lobes: np.ndarray
) -> np.ndarray:
    """Dice and relative volume error of every lobe and of both lungs on the volume's own grid, ``[6, 2]``.

    The network's output is interpolated; inference refines it by intensity, which is not part of this.
    """
    shares = coarse_probabilities(coarse_grid(torch.from_numpy(volume_hu), spacing_mm), network)
    labels = functional.interpolate(shares[None], lobes.shape, mode="trilinear").argmax(1)[0].numpy()
    pairs = [(labels == lobe.label, lobes == lobe.label) for lobe in Lobe] + [(labels > 0, lobes > 0)]
    rows = []
    for found, true in pairs:
        n_found, n_true = int(found.sum()), max(int(true.sum()), 1)
        rows.append((2 * int((found & true).sum()) / (n_found + n_true), n_found / n_true - 1))
    return np.array(rows)


def evaluate(options: Options, network: nn.Module) -> Evaluation:
    """Dice and volume errors on held-out anatomies, held-out phantoms and the smoke reference."""
    groups: dict[str, list[np.ndarray]] = {}
    for part in ("validation", "test"):
        groups[f"anatomies_{part}"] = []
        for name in read_split("anatomies")[part]:
            rng = np.random.default_rng(int(name))
            chest = make_chest(read_anatomy(options.data, name), rng, SYNTHESIS_SPACING_MM)
            row = dice_and_volume_error(network, chest.volume_hu, chest.spacing_mm, chest.lobes)
            groups[f"anatomies_{part}"].append(row)
    groups["phantoms"] = [
        _of_phantom(network, FIRST_VALIDATION_PHANTOM + i) for i in range(N_VALIDATION_PHANTOMS)
    ]
    volume_hu, spacing_mm = read_real_chest(options.data, SMOKE_REFERENCE)
    lobes, _ = read_nifti(options.data / "lobes" / f"{SMOKE_REFERENCE}_lobes.nii.gz")
    row = dice_and_volume_error(network, volume_hu, spacing_mm, lobes)
    groups[f"{SMOKE_REFERENCE}_machine_reference"] = [row]
    return {name: _summary(rows) for name, rows in groups.items()}, {}


def _of_phantom(network: nn.Module, seed: int) -> np.ndarray:
    pattern = PHANTOM_PATTERNS[seed % len(PHANTOM_PATTERNS)]
    phantom = make_thorax(seed, spacing_mm=SYNTHESIS_SPACING_MM, pattern=pattern)
    return dice_and_volume_error(
        network, phantom.volume_hu.astype(np.float32), phantom.spacing_mm, phantom.lobes
    )


def _summary(rows: list[np.ndarray]) -> dict[str, dict[str, float]]:
    table = np.stack(rows)
    names = [*map(str, Lobe), "lungs"]
    columns = {
        "dice_mean": table[:, :, 0].mean(0),
        "volume_error_mean_abs": np.abs(table[:, :, 1]).mean(0),
        "volume_error_worst_abs": np.abs(table[:, :, 1]).max(0),
    }
    return {key: dict(zip(names, values.round(3).tolist(), strict=True)) for key, values in columns.items()}


if __name__ == "__main__":
    run_script(LUNGS, lobe_unet, train, evaluate, parse_options(__doc__ or "", "models/lungs", 30))
