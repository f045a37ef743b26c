"""Training examples of the lobe network: synthetic chests, phantoms and real chests on its own grid."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor
from torch.nn import functional

from lungct.networks.lobe_unet import GRID_SPACING_MM, STRIDE, coarse_grid
from lungct_research.datasets.arrays import FloatArray, Spacing
from lungct_research.datasets.disease import INFECTIONS
from lungct_research.datasets.examples import Example, build_examples, load_examples
from lungct_research.datasets.volumes import read_anatomy, read_real_chest, read_split
from lungct_research.synthesis.chest import make_chest
from lungct_research.synthesis.fields import resize
from lungct_research.synthesis.hosts import PHANTOM_DISEASES, resample_hu, threshold_lungs, with_confounder
from lungct_research.synthesis.lesions import Host, add_infection
from lungct_research.synthesis.phantom.thorax import make_thorax
from lungct_research.training.augment import (
    View,
    random_consolidation,
    random_intensity,
    random_sharpness,
    random_warp,
)
from lungct_research.training.common import Options, Recipe

SPACING_MM = (GRID_SPACING_MM,) * 3

FINER_MM = (1.5, 2.0)
"""Synthetic chests are painted on one of these grids and then averaged, as a CT is: fissures are thin."""

UNKNOWN_LOBE = 6
"""Label of lung whose lobe is not known."""

IGNORED = 255
"""Label of voxels at which nothing is asked."""


class LobeRecipe(Recipe):
    """What ``lungct_research/training/configs/lobes.yaml`` holds.

    Attributes:
        variants: chests synthesised around each anatomy.
        phantoms: how many.
        real_variants: copies of each real chest; all but the first may be infected.
        infected_share: of the synthetic chests and of those copies.
        largest_view: most voxels of a view along slices, rows and columns.
        batch: views in a step.
    """

    variants: PositiveInt
    phantoms: NonNegativeInt
    real_variants: NonNegativeInt
    infected_share: Annotated[float, Field(ge=0, le=1)]
    largest_view: tuple[PositiveInt, PositiveInt, PositiveInt]
    batch: PositiveInt


def _example(volume_hu: FloatArray, labels: np.ndarray, spacing_mm: Spacing = SPACING_MM) -> Example:
    """Image in the lung window (float16) and labels (uint8), both on the network's grid."""
    image = coarse_grid(torch.from_numpy(volume_hu), spacing_mm)[0, 0].numpy()
    if labels.shape != image.shape:
        shares = [resize(labels == label, image.shape, "area") for label in range(UNKNOWN_LOBE)]
        labels = np.argmax(shares, axis=0)
    return {"image": image.astype(np.float16), "labels": labels.astype(np.uint8)}


def _maybe_infected(host: Host, rng: np.random.Generator, share: float) -> FloatArray:
    if rng.random() >= share:
        return host.volume_hu
    return add_infection(host, rng, rng.choice(list(INFECTIONS)))[0]


def synthetic_example(data_dir: Path, anatomy: str, seed: int, infected_share: float) -> Example:
    """A synthetic chest around an expert anatomy, infected or not, with what looks like it or not."""
    rng = np.random.default_rng([seed, int(anatomy)])
    spacing_mm = (float(rng.choice(FINER_MM)),) * 3
    chest = make_chest(read_anatomy(data_dir, anatomy), rng, spacing_mm)
    host = with_confounder(Host(chest.volume_hu, chest.lobes, chest.airways, chest.spacing_mm), rng)
    return _example(_maybe_infected(host, rng, infected_share), chest.lobes, spacing_mm)


def phantom_example(seed: int) -> Example:
    """A phantom, its disease chosen by the seed."""
    disease = PHANTOM_DISEASES[seed % len(PHANTOM_DISEASES)]
    phantom = make_thorax(seed, spacing_mm=SPACING_MM, disease=disease)
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


def view_shape(largest: tuple[int, int, int], generator: torch.Generator) -> tuple[int, int, int]:
    """A box to look through: each side the largest or a stride less, since scans differ in what they show."""
    less = torch.randint(2, (3,), generator=generator, device=generator.device).tolist()
    slices, rows, columns = (
        max(side - STRIDE * drop, STRIDE) for side, drop in zip(largest, less, strict=True)
    )
    return slices, rows, columns


def augmented(
    image: Tensor, labels: Tensor, shape: tuple[int, int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A random view of an example, around it air.

    Args:
        image: ``[slices, rows, columns]`` in (0, 1), on the generator's device.
        labels: the same shape.
        shape: of the view.
        generator: source of randomness.

    Returns:
        Image and labels ``shape``.
    """
    view = View(tuple(image.shape), _random_centre(labels, shape, generator))
    grid = random_warp(
        shape, generator, max_degrees=8, max_scale=0.12, bend_voxels=2.0, knot_voxels=24, source=view
    )
    seen = functional.grid_sample(image.float()[None, None], grid, align_corners=False)[0, 0]
    moved = functional.grid_sample(labels.float()[None, None], grid, mode="nearest", align_corners=False)
    labels = moved[0, 0].byte()
    seen = random_consolidation(seen, torch.where(labels == IGNORED, 0, labels), GRID_SPACING_MM, generator)
    return random_intensity(random_sharpness(seen, generator), generator), labels


def _random_centre(
    labels: Tensor, shape: tuple[int, int, int], generator: torch.Generator
) -> tuple[float, ...]:
    """Where a view is placed so that it mostly holds the lungs and seldom cuts through them."""
    lung = (labels > 0) & (labels != IGNORED)
    draws = (torch.rand(3, generator=generator, device=generator.device) - 0.5).tolist()
    centre = []
    for axis, (side, draw) in enumerate(zip(shape, draws, strict=True)):
        inside = lung.any(dim=[k for k in range(3) if k != axis]).nonzero()
        first, last = int(inside[0]), int(inside[-1])
        spare = max(side - (last - first), 0.35 * side if axis == 0 else 0.15 * side)
        centre.append((first + last) / 2 + draw * spare)
    return tuple(centre)
