"""Training slices of the opacity segmenter: painted infections in real and synthetic chests, and phantoms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lungct.preprocessing import SEGMENTER_SHAPE, bcet, window
from phantom.thorax import make_thorax
from training.common import Example, Options, build_examples, joined, load_examples
from training.fields import FloatArray
from training.hosts import PHANTOM_PATTERNS, real_host, synthetic_host, with_confounder
from training.lesions import Host, Pattern, add_infection
from training.volumes import read_split

HOST_SPACING_MM = (3.0, 1.25, 1.25)
PHANTOM_SPACING_MM = (4.0, 1.4, 1.4)
N_REAL_VARIANTS = 14
N_SYNTHETIC = 14
N_PHANTOMS = 15
SLICES_A_VOLUME = 14
HEALTHY_SHARE = 0.2
FIRST_PHANTOM = 20_000
OUTSIDE_HU = -1040.0


def square(volume: np.ndarray, fill: float) -> np.ndarray:
    """Pad rows or columns on both sides until slices are square, as a scanner's field of view is."""
    side = max(volume.shape[1:])
    pads = [(0, 0), *(((side - n) // 2, side - n - (side - n) // 2) for n in volume.shape[1:])]
    return np.pad(volume, pads, constant_values=fill)


def _example(volume_hu: FloatArray, mask: np.ndarray, lungs: np.ndarray, rng: np.random.Generator) -> Example:
    """Windowed slices (float16) and mask shares (uint8 of 255) at 320 x 320; lesions are preferred."""
    area = lungs.sum((1, 2)).astype(float)
    preference = (area > 0.1 * area.max()) * (0.3 + (mask.sum((1, 2)) > 30)) + 0.03
    n = min(SLICES_A_VOLUME, len(area))
    picks = np.sort(rng.choice(len(area), n, replace=False, p=preference / preference.sum()))
    images = window(torch.from_numpy(square(volume_hu[picks], -1040.0)))
    masks = torch.from_numpy(square(mask[picks], 0).astype(np.float32))
    return {
        "image": _at_network_size(images).numpy().astype(np.float16),
        "mask": np.round(255 * _at_network_size(masks).clamp(0, 1).numpy()).astype(np.uint8),
    }


def _at_network_size(slices: Tensor) -> Tensor:
    return functional.interpolate(slices[:, None], SEGMENTER_SHAPE, mode="bilinear", antialias=True)[:, 0]


def _infected_example(host: Host, rng: np.random.Generator) -> Example:
    host = with_confounder(host, rng)
    if rng.random() < HEALTHY_SHARE:
        return _example(host.volume_hu, np.zeros(host.lungs.shape, bool), host.lungs > 0, rng)
    volume_hu, mask = add_infection(host, rng, rng.choice(list(Pattern)))
    return _example(volume_hu, mask, host.lungs > 0, rng)


def real_examples(data_dir: Path, name: str, seed: int, n_variants: int) -> Example:
    """Slices of one real chest with many different infections."""
    host = real_host(data_dir, name, HOST_SPACING_MM)
    rng = np.random.default_rng([seed, len(name), ord(name[-1])])
    return joined([_infected_example(host, rng) for _ in range(n_variants)])


def synthetic_examples(data_dir: Path, anatomy: str, seed: int) -> Example:
    """Slices of a synthetic chest with two different infections."""
    rng = np.random.default_rng([seed, int(anatomy)])
    host = synthetic_host(data_dir, anatomy, rng, HOST_SPACING_MM)
    return joined([_infected_example(host, rng) for _ in range(2)])


def phantom_examples(seed: int) -> Example:
    """Slices of a phantom."""
    phantom = make_thorax(seed, spacing_mm=PHANTOM_SPACING_MM, pattern=PHANTOM_PATTERNS[seed % 3])
    volume_hu = phantom.volume_hu.astype(np.float32)
    return _example(volume_hu, phantom.opacity > 0, phantom.lobes > 0, np.random.default_rng(seed))


def training_slices(options: Options) -> Example:
    """All cached slices of the training cases."""
    folder = options.run_dir / f"seed{options.seed}"
    split = read_split("real_chests")
    jobs = {name: (options.data, name, options.seed, N_REAL_VARIANTS) for name in split["train"]}
    paths = build_examples(folder / "real", jobs, real_examples)
    anatomies = read_split("anatomies")["train"][:N_SYNTHETIC]
    jobs = {name: (options.data, name, options.seed) for name in anatomies}
    paths += build_examples(folder / "synthetic", jobs, synthetic_examples)
    jobs = {str(seed): (seed,) for seed in range(FIRST_PHANTOM, FIRST_PHANTOM + N_PHANTOMS)}
    paths += build_examples(folder / "phantoms", jobs, phantom_examples)
    return joined(load_examples(paths))


def random_views(
    images: Tensor, masks: Tensor, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Rotated up to 20 degrees, scaled, shifted slices with changed lighting and noise, then BCET.

    Args:
        images: windowed ``[batch, 320, 320]``.
        masks: shares in (0, 1), same shape.
        size: wanted side length.
        generator: source of randomness.

    Returns:
        Network input ``[batch, 3, size, size]`` and masks ``[batch, 1, size, size]``.
    """
    n = len(images)
    draw = torch.rand(6, n, generator=generator) * 2 - 1
    angle = draw[0] * np.deg2rad(20)
    zoom_rows, zoom_columns = 1 + 0.18 * draw[1] + 0.08 * draw[2], 1 + 0.18 * draw[1] - 0.08 * draw[2]
    rows = torch.stack([angle.cos() * zoom_columns, -angle.sin() * zoom_rows, 0.08 * draw[3]], 1)
    columns = torch.stack([angle.sin() * zoom_columns, angle.cos() * zoom_rows, 0.08 * draw[4]], 1)
    grid = functional.affine_grid(
        torch.stack([rows, columns], 1), [n, 2, *SEGMENTER_SHAPE], align_corners=False
    )
    air = float(images.min())
    both = torch.stack([images - air, masks], 1)
    both = functional.grid_sample(both, grid, align_corners=False)
    both = functional.interpolate(both, (size, size), mode="bilinear", antialias=True)
    image = both[:, :1] + air
    image = image * (1 + 0.1 * draw[5])[:, None, None, None]
    noise = 0.03 * torch.rand(n, 1, 1, 1, generator=generator)
    image = (image + torch.randn(image.shape, generator=generator) * noise).clamp(0, 1)
    return bcet(image).expand(-1, 3, -1, -1), both[:, 1:].clamp(0, 1)
