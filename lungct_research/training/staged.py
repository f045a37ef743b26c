"""The paper's training of the opacity segmenter: growing slices, alternately frozen and unfrozen encoder.

Source: Topff et al. 2023, PLoS ONE 18(5): e0285121. SGD and binary cross-entropy; when the encoder is frozen
the learning rate is found from the curve of loss against rate, when it is unfrozen the rates are spread over
the layers, small ones first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from monai.data.dataset import Dataset
from monai.optimizers.lr_finder import LearningRateFinder
from monai.optimizers.utils import generate_param_groups
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import RandScaleIntensityd, RandShiftIntensityd
from monai.transforms.spatial.dictionary import RandAffined
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from lungct.networks.inputs import bcet
from lungct_research.datasets.examples import Example
from lungct_research.evaluation.model_cards import Card, Evaluation, save_with_card
from lungct_research.training.common import RECIPES_DIR, Options, Strict
from lungct_research.training.trainer import Trainer

PAPER_RECIPE = RECIPES_DIR / "opacity_paper.yaml"
KEYS = ("image", "label")
ENCODER_LAYERS = ("layer1", "layer2", "layer3", "layer4")

Batch = dict[str, Tensor]


class Stage(Strict):
    """One stage: side length of the slices, slices a batch, whether the encoder stands still, epochs."""

    size: Annotated[int, Field(gt=0, multiple_of=32)]
    batch: PositiveInt
    frozen: bool
    epochs: PositiveInt


class StagedRecipe(Strict):
    """Content of ``configs/opacity_paper.yaml``, which explains the keys."""

    stages: tuple[Stage, ...]
    learning_rate_range: tuple[PositiveFloat, PositiveFloat]
    unfrozen_rates: tuple[PositiveFloat, PositiveFloat]
    finder_steps: Annotated[int, Field(gt=2)]
    momentum: NonNegativeFloat
    rotation_degrees: NonNegativeFloat
    zoom: NonNegativeFloat
    lighting: NonNegativeFloat


def stage_loader(slices: Example, stage: Stage, recipe: StagedRecipe, seed: int) -> DataLoader[Batch]:
    """Return shuffled batches of augmented slices at the size of a stage.

    Args:
        slices: ``image`` windowed ``[n, rows, columns]``, ``mask`` the share of opacity of 255.
        stage: gives size and batch.
        recipe: gives the augmentations: rotation and zoom of image and label, lighting of the image.
        seed: of everything random.

    Returns:
        Batches with ``image`` ``[batch, 3, size, size]`` and ``label`` ``[batch, 1, size, size]`` in (0, 1).
    """
    augment = Compose(
        [
            RandAffined(
                KEYS,
                prob=1.0,
                rotate_range=np.deg2rad(recipe.rotation_degrees),
                scale_range=(recipe.zoom, recipe.zoom),
                padding_mode="border",
            ),
            RandScaleIntensityd("image", recipe.lighting, prob=1.0),
            RandShiftIntensityd("image", recipe.lighting, prob=1.0),
        ]
    )
    augment.set_random_state(seed)

    def sample(index: int) -> Batch:
        image = torch.from_numpy(slices["image"][index]).float()
        label = torch.from_numpy(slices["mask"][index]).float() / 255
        both = functional.interpolate(
            torch.stack([image, label])[None], (stage.size, stage.size), mode="bilinear", antialias=True
        )[0].as_subclass(Tensor)
        changed = augment({"image": bcet(both[:1, None])[0], "label": both[1:]})
        seen, label = (torch.as_tensor(changed[key]).clamp(0, 1) for key in KEYS)
        return {"image": seen.expand(3, -1, -1).contiguous(), "label": label.contiguous()}

    return DataLoader(
        Dataset(range(len(slices["image"])), sample),
        batch_size=stage.batch,
        shuffle=True,
        drop_last=len(slices["image"]) > stage.batch,
        generator=torch.Generator().manual_seed(seed),
    )


def spread_rates(network: nn.Module, rates: tuple[float, float]) -> list[dict[str, Any]]:
    """Return parameter groups of a U-Net on a ResNet; rates grow evenly from the first to the last layer."""
    stem = [lambda named: named[0].startswith(("encoder.conv1", "encoder.bn1"))]
    blocks = [lambda net, name=name: getattr(net.encoder, name) for name in ENCODER_LAYERS]
    rest = [lambda net: net.decoder, lambda net: net.segmentation_head]
    matches = [*stem, *blocks, *rest]
    kinds = ["filter", *["select"] * (len(matches) - 1)]
    values = np.geomspace(*rates, len(matches)).tolist()
    groups = generate_param_groups(network, matches, kinds, values, include_others=False)
    return [{**group, "params": list(group["params"])} for group in groups]


def find_rate(
    network: nn.Module, loader: DataLoader[Batch], recipe: StagedRecipe, device: torch.device
) -> float:
    """Find the rate at which the loss falls most steeply; the network is left as it was."""
    low, high = recipe.learning_rate_range
    optimiser = torch.optim.SGD(_learning(network), lr=low, momentum=recipe.momentum)
    finder = LearningRateFinder(network, optimiser, nn.BCEWithLogitsLoss(), device, verbose=False)
    finder.range_test(loader, end_lr=high, num_iter=recipe.finder_steps)
    rate, _ = finder.get_steepest_gradient()
    return float(np.clip(low if rate is None else rate, low, high))


def _learning(network: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in network.parameters() if weight.requires_grad]


@dataclass
class StagesDone:
    """Progress of training by stages."""

    done: int = 0


def train_by_stages(
    options: Options,
    card: Card,
    network: nn.Module,
    recipe: StagedRecipe,
    slices: Example,
    interim: Evaluation,
) -> None:
    """Train through all stages, on request those that are left, saving the weights after each.

    Args:
        options: the command line.
        card: what is known about the network.
        network: U-Net on a ResNet, trained in place.
        recipe: stages and rates.
        slices: see :func:`stage_loader`.
        interim: what is known of weights that are not measured yet.
    """
    progress = StagesDone()
    trainer = Trainer(network.to(options.device), options.run_dir / "stages.pt", progress)
    if options.resume:
        trainer.resume()
    while progress.done < len(recipe.stages):
        stage = recipe.stages[progress.done]
        progress.done += 1
        losses = run_stage(trainer, slices, stage, recipe, options.device, options.seed + progress.done)
        name = f"stage {progress.done} of {len(recipe.stages)}"
        trainer.report(name, progress.done, {"loss": float(np.mean(losses[-50:]))})
        trainer.checkpoint()
        save_with_card(options.out, card, network, interim)


def run_stage(
    trainer: Trainer, slices: Example, stage: Stage, recipe: StagedRecipe, device: torch.device, seed: int
) -> list[float]:
    """Train for one stage; return the loss of every batch."""
    network = trainer.network
    loader = stage_loader(slices, stage, recipe, seed)
    network.encoder.requires_grad_(not stage.frozen)
    if stage.frozen:
        groups = [{"params": _learning(network), "lr": find_rate(network, loader, recipe, device)}]
    else:
        groups = spread_rates(network, recipe.unfrozen_rates)
    optimiser = torch.optim.SGD(groups, momentum=recipe.momentum)

    def loss_of(batch: Batch) -> Tensor:
        image, label = (batch[key].to(device) for key in KEYS)
        return functional.binary_cross_entropy_with_logits(network(image), label)

    batches = (batch for _ in range(stage.epochs) for batch in loader)
    return trainer.run(optimiser, batches, loss_of)
