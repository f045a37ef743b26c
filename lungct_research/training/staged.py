"""The paper's training of the opacity segmenter: growing slices, alternately frozen and unfrozen encoder.

Source: Topff et al. 2023, PLoS ONE 18(5): e0285121. SGD and binary cross-entropy; when the encoder is frozen
the learning rate is found from the curve of loss against rate, when it is unfrozen the rates are spread over
the layers, small ones first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from monai.data.dataset import Dataset
from monai.optimizers.lr_finder import LearningRateFinder
from monai.optimizers.utils import generate_param_groups
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import RandScaleIntensityd, RandShiftIntensityd
from monai.transforms.spatial.dictionary import RandAffined
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from lungct.networks.inputs import bcet
from lungct_research.datasets.examples import Example

KEYS = ("image", "label")
ENCODER_LAYERS = ("layer1", "layer2", "layer3", "layer4")


class Stage(BaseModel):
    """One stage: side length of the slices, slices a batch, whether the encoder stands still, epochs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Annotated[int, Field(gt=0, multiple_of=32)]
    batch: PositiveInt
    frozen: bool
    epochs: PositiveInt


class StagedRecipe(BaseModel):
    """What ``lungct_research/training/configs/opacity_paper.yaml`` holds.

    Attributes:
        learning_rate_range: where the rate of a frozen stage is looked for.
        unfrozen_rates: of the first and of the last layer.
        finder_steps: batches that the search for a rate takes.
        rotation_degrees: largest, to either side.
        zoom: largest change of scale.
        lighting: largest change of brightness and of contrast.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stages: tuple[Stage, ...]
    learning_rate_range: tuple[PositiveFloat, PositiveFloat]
    unfrozen_rates: tuple[PositiveFloat, PositiveFloat]
    finder_steps: Annotated[int, Field(gt=2)]
    momentum: NonNegativeFloat
    rotation_degrees: NonNegativeFloat
    zoom: NonNegativeFloat
    lighting: NonNegativeFloat


def stage_loader(
    slices: Example, stage: Stage, recipe: StagedRecipe, seed: int
) -> DataLoader[dict[str, Tensor]]:
    """Shuffled batches of augmented slices at the size of a stage.

    Args:
        slices: ``image`` windowed ``[n, rows, columns]``, ``mask`` the share of opacity of 255.
        stage: gives size and batch.
        recipe: gives the augmentations.
        seed: of everything random.

    Returns:
        Batches with ``image`` ``[batch, 3, size, size]`` and ``label`` ``[batch, 1, size, size]`` in (0, 1).
    """
    augment = _augmentation(recipe)
    augment.set_random_state(seed)

    def sample(index: int) -> dict[str, Tensor]:
        image = torch.from_numpy(slices["image"][index]).float()
        label = torch.from_numpy(slices["mask"][index]).float() / 255
        both = _resized(torch.stack([image, label]), stage.size)
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


def _augmentation(recipe: StagedRecipe) -> Compose:
    """Rotation, zoom and lighting; the label follows the image in space."""
    return Compose(
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


def _resized(slices: Tensor, size: int) -> Tensor:
    return functional.interpolate(
        slices[None], (size, size), mode="bilinear", align_corners=False, antialias=True
    )[0].as_subclass(Tensor)


def freeze_encoder(network: nn.Module, *, frozen: bool) -> None:
    """Let the encoder learn or not."""
    network.encoder.requires_grad_(not frozen)


def spread_rates(network: nn.Module, rates: tuple[float, float]) -> list[dict[str, Any]]:
    """Parameter groups of a U-Net on a ResNet, rates growing evenly from the first to the last layer."""
    stem = [lambda named: named[0].startswith(("encoder.conv1", "encoder.bn1"))]
    blocks = [lambda net, name=name: getattr(net.encoder, name) for name in ENCODER_LAYERS]
    rest = [lambda net: net.decoder, lambda net: net.segmentation_head]
    matches = [*stem, *blocks, *rest]
    kinds = ["filter", *["select"] * (len(matches) - 1)]
    values = np.geomspace(*rates, len(matches)).tolist()
    groups = generate_param_groups(network, matches, kinds, values, include_others=False)
    return [{**group, "params": list(group["params"])} for group in groups]


def found_rate(
    network: nn.Module, loader: DataLoader[dict[str, Tensor]], recipe: StagedRecipe, device: torch.device
) -> float:
    """Rate at which the loss falls most steeply; the network is left as it was."""
    low, high = recipe.learning_rate_range
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    optimiser = torch.optim.SGD(learning, lr=low, momentum=recipe.momentum)
    finder = LearningRateFinder(network, optimiser, nn.BCEWithLogitsLoss(), device, verbose=False)
    finder.range_test(loader, end_lr=high, num_iter=recipe.finder_steps)
    rate, _ = finder.get_steepest_gradient()
    return float(np.clip(low if rate is None else rate, low, high))


def run_stage(
    network: nn.Module, slices: Example, stage: Stage, recipe: StagedRecipe, device: torch.device, seed: int
) -> list[float]:
    """Train for one stage; returns the loss of every batch."""
    loader = stage_loader(slices, stage, recipe, seed)
    freeze_encoder(network, frozen=stage.frozen)
    if stage.frozen:
        learning = [weight for weight in network.parameters() if weight.requires_grad]
        groups = [{"params": learning, "lr": found_rate(network, loader, recipe, device)}]
    else:
        groups = spread_rates(network, recipe.unfrozen_rates)
    optimiser = torch.optim.SGD(groups, momentum=recipe.momentum)
    entropy, losses = nn.BCEWithLogitsLoss(), []
    network.to(device).train()
    for _ in range(stage.epochs):
        for batch in loader:
            loss = entropy(network(batch["image"].to(device)), batch["label"].to(device))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
    return losses


def train_by_stages(
    network: nn.Module,
    slices: Example,
    recipe: StagedRecipe,
    device: torch.device,
    seed: int,
    checkpoint: Path,
    on_stage: Callable[[nn.Module], None],
) -> None:
    """Train through all stages that the checkpoint does not hold yet.

    Args:
        network: trained in place.
        slices: see :func:`stage_loader`.
        recipe: stages and rates.
        device: where to train.
        seed: of everything random.
        checkpoint: written after every stage, read where it exists.
        on_stage: called with the network after every stage.
    """
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location="cpu")
        network.load_state_dict(state["network"])
        done = state["done"]
    for number, stage in enumerate(recipe.stages[done:], start=done + 1):
        losses = run_stage(network, slices, stage, recipe, device, seed + number)
        print(f"stage {number} of {len(recipe.stages)}, loss {np.mean(losses[-50:]):.4f}", flush=True)
        unfinished = checkpoint.with_suffix(".part")
        torch.save({"network": network.state_dict(), "done": number}, unfinished)
        unfinished.rename(checkpoint)
        on_stage(network)
