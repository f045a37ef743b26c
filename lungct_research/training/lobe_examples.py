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
from lungct_research.synthesis.abdomen import random_abdomen
from lungct_research.synthesis.chest import make_chest
from lungct_research.synthesis.diaphragm import MIDLINE_SOFTNESS_MM, heights_before, measure_extent
from lungct_research.synthesis.fields import resize
from lungct_research.synthesis.hosts import (
    PHANTOM_DISEASES,
    resample_hu,
    solid_above_lung,
    threshold_lungs,
    with_confounder,
)
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
"""Spacings of synthetic chests before they are averaged, as a CT is: fissures are thin."""

UNKNOWN_LOBE = 6
"""Label of lung whose lobe is not known."""

RAISED_SHARE = 0.65
HIGHEST_RISE_MM = 80.0
"""Share of views with a raised diaphragm, and its highest rise; own decision, after failures on real CT."""

ABDOMEN_SHARE = 0.5
"""Share of views with painted organs below the lungs. Own decision."""

LOW_SHARE = 0.7
"""Share of the views too low for the lungs that show the base. Own decision."""

IGNORED = 255
"""Label of voxels that the loss leaves out."""


class LobeRecipe(Recipe):
    """Content of ``configs/lobes.yaml``, which explains the keys.

    Attributes:
        anatomies: number of the anatomies of the split that are used, from its first on; all where None.
        frozen: beginnings of the names of weights that stay as they are.
    """

    variants: PositiveInt
    phantoms: NonNegativeInt
    real_variants: NonNegativeInt
    infected_share: Annotated[float, Field(ge=0, le=1)]
    smallest_view: tuple[PositiveInt, PositiveInt, PositiveInt]
    largest_view: tuple[PositiveInt, PositiveInt, PositiveInt]
    batch: PositiveInt
    anatomies: PositiveInt | None = None
    frozen: tuple[str, ...] = ()


def _example(volume_hu: FloatArray, labels: np.ndarray, spacing_mm: Spacing = SPACING_MM) -> Example:
    """Return the image in the lung window (float16) and labels (uint8), both on the network's grid."""
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
    """Make a synthetic chest around an expert anatomy, infected or not, with confounders or not."""
    rng = np.random.default_rng([seed, int(anatomy)])
    spacing_mm = (float(rng.choice(FINER_MM)),) * 3
    chest = make_chest(read_anatomy(data_dir, anatomy), rng, spacing_mm)
    host = with_confounder(Host(chest.volume_hu, chest.lobes, chest.airways, chest.spacing_mm), rng)
    return _example(_maybe_infected(host, rng, infected_share), chest.lobes, spacing_mm)


def phantom_example(seed: int) -> Example:
    """Make a phantom; the seed chooses the disease."""
    disease = PHANTOM_DISEASES[seed % len(PHANTOM_DISEASES)]
    phantom = make_thorax(seed, spacing_mm=SPACING_MM, disease=disease)
    return _example(phantom.volume_hu.astype(np.float32), phantom.lobes)


def real_example(data_dir: Path, name: str, seed: int, infected_share: float) -> Example:
    """Read a real chest, of which only the lungs are known.

    Nothing is asked near the large airways, nor, in a chest with a mass, of solid tissue above its lungs.
    """
    volume_hu, spacing_mm = resample_hu(*read_real_chest(data_dir, name), SPACING_MM)
    lungs, near_airways = threshold_lungs(volume_hu, spacing_mm)
    unknown = near_airways & ~lungs
    if name in read_split("lung_outlines")["with_mass"]:
        unknown |= solid_above_lung(volume_hu, lungs)
    host = Host(volume_hu, lungs.astype(np.uint8), near_airways & lungs, spacing_mm)
    if seed:
        volume_hu = _maybe_infected(host, np.random.default_rng([seed, len(name)]), infected_share)
    return _example(volume_hu, np.where(unknown, IGNORED, UNKNOWN_LOBE * lungs))


def training_examples(options: Options, recipe: LobeRecipe) -> list[Example]:
    """Make the training examples that are not in the cache yet; load all into memory."""
    folder, first = options.run_dir / f"seed{options.seed}", options.seed * 1000
    jobs = {
        f"{name}-{variant}": (options.data, name, variant, recipe.infected_share)
        for variant in range(recipe.real_variants)
        for name in read_split("lung_outlines")["train"]
    }
    paths = build_examples(folder / "real", jobs, real_example)
    phantoms = {str(seed): (seed,) for seed in range(first, first + recipe.phantoms)}
    paths += build_examples(folder / "phantoms", phantoms, phantom_example)
    jobs = {
        f"{name}-{variant}": (options.data, name, first + variant, recipe.infected_share)
        for variant in range(recipe.variants)
        for name in read_split("anatomies")["train"][: recipe.anatomies]
    }
    return load_examples(paths + build_examples(folder / "synthetic", jobs, synthetic_example))


def view_shape(recipe: LobeRecipe, generator: torch.Generator) -> tuple[int, int, int]:
    """Return the shape of a view, within the bounds of the recipe, since scans differ in what they show."""
    slices, rows, columns = (
        low
        + STRIDE
        * int(torch.randint((high - low) // STRIDE + 1, (), generator=generator, device=generator.device))
        for low, high in zip(recipe.smallest_view, recipe.largest_view, strict=True)
    )
    return slices, rows, columns


def augmented(
    image: Tensor, labels: Tensor, shape: tuple[int, int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw a random view of an example, around it air.

    Args:
        image: ``[slices, rows, columns]`` in (0, 1), on the generator's device.
        labels: the same shape.
        shape: of the view.
        generator: source of randomness.

    Returns:
        Image and labels ``shape``.
    """
    raised = _random_rise(generator)
    view = View(tuple(image.shape), _random_centre(labels, shape, raised, generator))
    grid = random_warp(
        shape, generator, max_degrees=8, max_scale=0.12, bend_voxels=2.0, knot_voxels=24, source=view
    )
    if any(raised):
        grid = _with_raised_diaphragm(grid, (labels > 0) & (labels != IGNORED), raised)
    seen = functional.grid_sample(image.float()[None, None], grid, align_corners=False)[0, 0]
    moved = functional.grid_sample(labels.float()[None, None], grid, mode="nearest", align_corners=False)
    labels = moved[0, 0].byte()
    if torch.rand((), generator=generator, device=generator.device) < ABDOMEN_SHARE:
        seen = random_abdomen(seen, labels, GRID_SPACING_MM, generator)
    seen = random_consolidation(seen, torch.where(labels == IGNORED, 0, labels), GRID_SPACING_MM, generator)
    return random_intensity(random_sharpness(seen, generator), generator), labels


def _random_rise(generator: torch.Generator) -> tuple[float, float]:
    """Draw by how many voxels the left and the right half of the diaphragm rise; mostly one or both do."""
    any_rise, which, *heights = torch.rand(4, generator=generator, device=generator.device).tolist()
    if any_rise >= RAISED_SHARE:
        return 0.0, 0.0
    left, right = (height * HIGHEST_RISE_MM / GRID_SPACING_MM for height in heights)
    return (left if which < 2 / 3 else 0.0), (right if which > 1 / 3 else 0.0)


def _with_raised_diaphragm(grid: Tensor, lungs: Tensor, raised: tuple[float, float]) -> Tensor:
    """Return the sampling grid for the chest before its diaphragm rose."""
    n_slices, _, n_columns = lungs.shape
    column, height = (grid[..., 0] + 1) / 2 * n_columns, (grid[..., 2] + 1) / 2 * n_slices
    softness = MIDLINE_SOFTNESS_MM / GRID_SPACING_MM
    before = heights_before(height, column, measure_extent(lungs), raised, softness)
    before = torch.where(height >= 0, before.clamp_min(0.5), before)
    return torch.stack([grid[..., 0], grid[..., 1], before / n_slices * 2 - 1], dim=-1)


def _random_centre(
    labels: Tensor, shape: tuple[int, int, int], raised: tuple[float, float], generator: torch.Generator
) -> tuple[float, ...]:
    """Draw the centre of a view so that it mostly holds the lungs and seldom cuts through them.

    Along the slices a view too low for the lungs mostly shows their base, as high as it has risen.
    """
    lung = (labels > 0) & (labels != IGNORED)
    draws = (torch.rand(3, generator=generator, device=generator.device) - 0.5).tolist()
    low = torch.rand((), generator=generator, device=generator.device) < LOW_SHARE
    centre = []
    for axis, (side, draw) in enumerate(zip(shape, draws, strict=True)):
        inside = lung.any(dim=[k for k in range(3) if k != axis]).nonzero()
        first, last = int(inside[0]), int(inside[-1])
        if axis == 0:
            first += round(min(raised))
        spare = max(side - (last - first), 0.35 * side if axis == 0 else 0.15 * side)
        middle = (first + last) / 2
        if axis == 0 and side < last - first and low:
            middle = first + side / 2 - 0.15 * side
        centre.append(middle + draw * spare)
    return tuple(centre)
