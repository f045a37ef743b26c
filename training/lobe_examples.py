"""Training examples of the lobe network: synthetic chests, phantoms and real chests on its own grid."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor
from torch.nn import functional

from lungct.anatomy.lungs import coarse_grid, pad_to_stride
from lungct.networks.lobe_unet import GRID_SPACING_MM
from phantom.thorax import make_thorax
from training.augment import random_consolidation, random_intensity, random_warp
from training.common import Example, Options, Recipe, build_examples, load_examples
from training.fields import FloatArray
from training.hosts import PHANTOM_PATTERNS
from training.lesions import Host, Pattern, add_infection
from training.synthesis import make_chest
from training.volumes import read_anatomy, read_real_chest, read_split, resample_hu, threshold_lungs

SPACING_MM = (GRID_SPACING_MM,) * 3

UNKNOWN_LOBE = 6
"""Label of lung whose lobe is not known."""

IGNORED = 255
"""Label of voxels at which nothing is asked."""


class LobeRecipe(Recipe):
    """What ``training/configs/lobes.yaml`` holds.

    Attributes:
        variants: chests synthesised around each anatomy.
        phantoms: how many.
        real_variants: copies of each real chest; all but the first may be infected.
        infected_share: of the synthetic chests and of those copies.
        largest_view: most voxels of a view along slices, rows and columns.
    """

    variants: PositiveInt
    phantoms: NonNegativeInt
    real_variants: NonNegativeInt
    infected_share: Annotated[float, Field(ge=0, le=1)]
    largest_view: tuple[PositiveInt, PositiveInt, PositiveInt]


def _example(volume_hu: FloatArray, labels: np.ndarray) -> Example:
    """Image in the lung window (float16) and labels (uint8), both on the network's grid."""
    image = coarse_grid(torch.from_numpy(volume_hu), SPACING_MM)[0, 0].numpy()
    return {"image": image.astype(np.float16), "labels": labels.astype(np.uint8)}


def _maybe_infected(host: Host, rng: np.random.Generator, share: float) -> FloatArray:
    if rng.random() >= share:
        return host.volume_hu
    return add_infection(host, rng, rng.choice(list(Pattern)))[0]


def synthetic_example(data_dir: Path, anatomy: str, seed: int, infected_share: float) -> Example:
    """A synthetic chest around an expert anatomy, infected or not."""
    rng = np.random.default_rng([seed, int(anatomy)])
    chest = make_chest(read_anatomy(data_dir, anatomy), rng, SPACING_MM)
    host = Host(chest.volume_hu, chest.lobes, chest.airways, chest.spacing_mm)
    return _example(_maybe_infected(host, rng, infected_share), chest.lobes)


def phantom_example(seed: int) -> Example:
    """A phantom, its disease chosen by the seed."""
    pattern = PHANTOM_PATTERNS[seed % len(PHANTOM_PATTERNS)]
    phantom = make_thorax(seed, spacing_mm=SPACING_MM, pattern=pattern)
    return _example(phantom.volume_hu.astype(np.float32), phantom.lobes)


def real_example(data_dir: Path, name: str, seed: int, infected_share: float) -> Example:
    """A real chest without lobes: background and lung; near the large airways nothing is asked."""
    volume_hu, spacing_mm = resample_hu(*read_real_chest(data_dir, name), SPACING_MM)
    lungs, near_airways = threshold_lungs(volume_hu, spacing_mm)
    host = Host(volume_hu, lungs.astype(np.uint8), near_airways & lungs, spacing_mm)
    if seed:
        volume_hu = _maybe_infected(host, np.random.default_rng([seed, len(name)]), infected_share)
    return _example(volume_hu, np.where(near_airways & ~lungs, IGNORED, UNKNOWN_LOBE * lungs))


def training_examples(options: Options, recipe: LobeRecipe) -> list[Example]:
    """All cached training examples in memory."""
    folder, first = options.run_dir / f"seed{options.seed}", options.seed * 1000
    jobs = {
        f"{name}-{variant}": (options.data, name, variant, recipe.infected_share)
        for variant in range(recipe.real_variants)
        for name in read_split("real_chests")["train"]
    }
    paths = build_examples(folder / "real", jobs, real_example)
    phantoms = {str(seed): (seed,) for seed in range(first, first + recipe.phantoms)}
    paths += build_examples(folder / "phantoms", phantoms, phantom_example)
    jobs = {
        f"{name}-{variant}": (options.data, name, first + variant, recipe.infected_share)
        for variant in range(recipe.variants)
        for name in read_split("anatomies")["train"]
    }
    return load_examples(paths + build_examples(folder / "synthetic", jobs, synthetic_example))


def augmented(
    example: Example, largest_view: tuple[int, int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A random view, padded with air to multiples of the network's stride.

    Returns:
        Image ``[1, 1, slices, rows, columns]`` and labels ``[slices, rows, columns]``.
    """
    whole = torch.from_numpy(example["image"]).float(), torch.from_numpy(example["labels"])
    image, labels = _random_field_of_view(*whole, largest_view, generator)
    shape = tuple(image.shape)
    grid = random_warp(shape, generator, max_degrees=8, max_scale=0.12, bend_voxels=2.0, knot_voxels=24)
    image = functional.grid_sample(image[None, None], grid, align_corners=False)[0, 0]
    moved = functional.grid_sample(labels.float()[None, None], grid, mode="nearest", align_corners=False)
    labels = moved[0, 0].byte()
    known_lung = torch.where(labels == IGNORED, 0, labels)
    image = random_consolidation(image, known_lung, GRID_SPACING_MM, generator)
    image = random_intensity(image, generator)
    return pad_to_stride(image[None, None]), pad_to_stride(labels[None, None])[0, 0]


def _random_field_of_view(
    image: Tensor, labels: Tensor, largest_view: tuple[int, int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Cut the same random box out of both, mostly around the lungs and seldom through them."""
    lung = (labels > 0) & (labels != IGNORED)
    for axis, largest in enumerate(largest_view):
        size = image.shape[axis]
        cut = float(torch.rand(1, generator=generator)) ** 4 * (0.35 if axis == 0 else 0.15)
        kept = min(round(size * (1 - cut)), largest)
        inside = lung.any(dim=[k for k in range(3) if k != axis]).nonzero()
        middle = int(inside[0] + inside[-1]) // 2
        spare = max(kept - int(inside[-1] - inside[0]), 16) // 2
        jitter = int(torch.randint(-spare, spare + 1, (1,), generator=generator))
        start = min(max(middle - kept // 2 + jitter, 0), size - kept)
        image, labels, lung = (tensor.narrow(axis, start, kept) for tensor in (image, labels, lung))
    return image, labels
