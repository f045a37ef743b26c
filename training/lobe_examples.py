"""Training examples of the lobe network: synthetic chests, phantoms and real chests on its 5 mm grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lungct.anatomy.lungs import coarse_grid, pad_to_stride
from lungct.records import Lobe
from phantom.thorax import make_thorax
from training.augment import random_consolidation, random_intensity, random_warp
from training.common import Example, Options, build_examples, load_examples
from training.fields import FloatArray, Spacing, resize
from training.hosts import PHANTOM_PATTERNS
from training.lesions import Host, Pattern, add_infection
from training.synthesis import make_chest
from training.volumes import read_anatomy, read_real_chest, read_split, resample_hu, threshold_lungs

SYNTHESIS_SPACING_MM = (3.0, 3.0, 3.0)
N_VARIANTS = 3
N_PHANTOMS = 120
N_REAL_VARIANTS = 2
N_VIEWS = 2
INFECTED_SHARE = 0.6
LARGEST_SHAPE = (64, 64, 80)


def _example(
    volume_hu: FloatArray, spacing_mm: Spacing, classes: list[np.ndarray], ignored: np.ndarray
) -> Example:
    """Image (float16), class shares (uint8 of 255) and weight (uint8 of 255) on the network's grid."""
    image = coarse_grid(torch.from_numpy(volume_hu), spacing_mm)[0, 0].numpy()
    shares = np.stack([resize(mask, image.shape, "area") for mask in classes])
    target = np.concatenate([1 - shares.sum(0, keepdims=True), shares])
    return {
        "image": image.astype(np.float16),
        "target": np.round(255 * target.clip(0, 1)).astype(np.uint8),
        "weight": np.round(255 * (1 - resize(ignored, image.shape, "area"))).astype(np.uint8),
    }


def _maybe_infected(host: Host, rng: np.random.Generator) -> FloatArray:
    if rng.random() >= INFECTED_SHARE:
        return host.volume_hu
    return add_infection(host, rng, rng.choice(list(Pattern)))[0]


def synthetic_example(data_dir: Path, anatomy: str, seed: int) -> Example:
    """A synthetic chest around an expert anatomy, infected or not."""
    rng = np.random.default_rng([seed, int(anatomy)])
    chest = make_chest(read_anatomy(data_dir, anatomy), rng, SYNTHESIS_SPACING_MM)
    host = Host(chest.volume_hu, chest.lobes, chest.airways, chest.spacing_mm)
    nothing = np.zeros(chest.lobes.shape, bool)
    return _example(_maybe_infected(host, rng), chest.spacing_mm, _one_mask_a_lobe(chest.lobes), nothing)


def phantom_example(seed: int) -> Example:
    """A phantom, its disease chosen by the seed."""
    pattern = PHANTOM_PATTERNS[seed % len(PHANTOM_PATTERNS)]
    phantom = make_thorax(seed, spacing_mm=SYNTHESIS_SPACING_MM, pattern=pattern)
    volume_hu = phantom.volume_hu.astype(np.float32)
    nothing = np.zeros(volume_hu.shape, bool)
    return _example(volume_hu, phantom.spacing_mm, _one_mask_a_lobe(phantom.lobes), nothing)


def real_example(data_dir: Path, name: str, seed: int) -> Example:
    """A real chest without lobes: background and lung; near the large airways nothing is asked."""
    volume_hu, spacing_mm = read_real_chest(data_dir, name)
    coarse, spacing_mm = resample_hu(volume_hu, spacing_mm, SYNTHESIS_SPACING_MM)
    lungs, near_airways = threshold_lungs(coarse, spacing_mm)
    host = Host(coarse, lungs.astype(np.uint8), near_airways & lungs, spacing_mm)
    infected = _maybe_infected(host, np.random.default_rng([seed, len(name)])) if seed else coarse
    return _example(infected, spacing_mm, [lungs], near_airways & ~lungs)


def _one_mask_a_lobe(lobes: np.ndarray) -> list[np.ndarray]:
    return [lobes == lobe.label for lobe in Lobe]


def training_examples(options: Options) -> list[Example]:
    """All cached training examples in memory."""
    folder = options.run_dir / f"seed{options.seed}"
    jobs = {
        f"{name}-{variant}": (options.data, name, options.seed * 1000 + variant)
        for variant in range(N_VARIANTS)
        for name in read_split("anatomies")["train"]
    }
    paths = build_examples(folder / "synthetic", jobs, synthetic_example)
    seeds = range(options.seed * 1000, options.seed * 1000 + N_PHANTOMS)
    paths += build_examples(folder / "phantoms", {str(seed): (seed,) for seed in seeds}, phantom_example)
    jobs = {
        f"{name}-{variant}": (options.data, name, variant)
        for variant in range(N_REAL_VARIANTS)
        for name in read_split("real_chests")["train"]
    }
    return load_examples(paths + build_examples(folder / "real", jobs, real_example))


def as_tensors(example: Example) -> tuple[Tensor, Tensor, Tensor]:
    """Image ``[1, 1, ...]``, class shares ``[1, classes, ...]`` and weight ``[1, 1, ...]``, all float32."""
    image = torch.from_numpy(example["image"]).float()[None, None]
    target = torch.from_numpy(example["target"]).float()[None] / 255
    weight = torch.from_numpy(example["weight"]).float()[None, None] / 255
    return image, target, weight


def augmented(example: Example, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Random views of one field of view, padded with air to multiples of the network's stride.

    More than one, since PyTorch convolves small batches of one by its slow path.
    """
    field_of_view = _random_field_of_view(as_tensors(example), generator)
    views = [_random_view(*field_of_view, generator) for _ in range(N_VIEWS)]
    image, target, weight = (torch.cat(parts) for parts in zip(*views, strict=True))
    return image, target, weight


def _random_view(
    image: Tensor, target: Tensor, weight: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    grid = random_warp(tuple(image.shape[2:]), generator, max_degrees=8, max_scale=0.12, bend_voxels=1.0)
    moved = functional.grid_sample(torch.cat([image, weight, target], 1), grid, align_corners=False)
    image = random_consolidation(moved[:, :1], moved[:, 3:], generator)
    image = pad_to_stride(random_intensity(image, generator))
    weight, lobes = (pad_to_stride(part) for part in (moved[:, 1:2], moved[:, 3:]))
    return image, torch.cat([1 - lobes.sum(1, keepdim=True), lobes], dim=1), weight


def _random_field_of_view(tensors: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Cut the same random box, mostly little, out of tensors of the same grid."""
    for axis, largest in zip((2, 3, 4), LARGEST_SHAPE, strict=True):
        size = tensors[0].shape[axis]
        cut = float(torch.rand(1, generator=generator)) ** 4 * (0.35 if axis == 2 else 0.15)
        kept = min(round(size * (1 - cut)), largest)
        start = int(torch.randint(size - kept + 1, (1,), generator=generator))
        tensors = tuple(tensor.narrow(axis, start, kept) for tensor in tensors)
    return tensors
