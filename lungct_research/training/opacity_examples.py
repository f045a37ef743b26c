"""Training slices of the opacity segmenter: painted infections in real and synthetic chests, and phantoms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from lungct.networks.inputs import BCET_MEAN, at_segmenter_size, bcet, window
from lungct_research.datasets.arrays import FloatArray
from lungct_research.datasets.disease import INFECTIONS
from lungct_research.datasets.examples import Example, build_examples, join_examples, load_examples
from lungct_research.datasets.volumes import read_split
from lungct_research.synthesis.hosts import (
    HOST_SPACING_MM,
    OUTSIDE_HU,
    PHANTOM_DISEASES,
    real_host,
    square,
    synthetic_host,
    with_confounder,
)
from lungct_research.synthesis.lesions import Host, add_infection
from lungct_research.synthesis.phantom.thorax import make_thorax
from lungct_research.training.common import Options

PHANTOM_SPACING_MM = (4.0, 1.4, 1.4)
N_REAL, N_SYNTHETIC, N_PHANTOMS = 8, 3, 18
"""Number of examples of every real chest and of every anatomy, and of phantoms altogether."""
N_INFECTIONS = {"real": 12, "synthetic": 4}
"""Infections in an example, each in the same chest, which takes longer to make than they do."""
SLICES_A_VOLUME = 14
HEALTHY_SHARE = 0.2
SLABS = (1, 1, 2, 3)
"""Numbers of neighbouring slices that are averaged, equally likely: slices are 3 to 12 mm thick then."""
FIRST_PHANTOM = 20_000
SHARPEST, NOISIEST, MEAN_CHANGE, LIGHTING = 0.8, 0.03, 0.07, 0.1
"""Largest changes of a slice in a view: detail taken away or added, noise, mean of the whole slice (as
another field of view has), brightness and contrast; own decision."""
CENTRE_JITTER = 0.3
"""Width of the shift of a crop's centre, of a slice's side length of 2."""


def _example(volume_hu: FloatArray, mask: np.ndarray, lungs: np.ndarray, rng: np.random.Generator) -> Example:
    """Draw windowed slices (float16) with shares of opacity and lung (uint8 of 255), at 320 x 320.

    Slices with lesions are preferred.
    """
    area = lungs.sum((1, 2)).astype(float)
    preference = (area > 0.1 * area.max()) * (0.3 + (mask.sum((1, 2)) > 30)) + 0.03
    n = min(SLICES_A_VOLUME, len(area))
    picks = np.sort(rng.choice(len(area), n, replace=False, p=preference / preference.sum()))
    slab = rng.choice(SLABS)
    image, mask, lungs = (
        ndimage.uniform_filter1d(np.asarray(whole, np.float32), slab, axis=0)[picks]
        for whole in (volume_hu, mask, lungs)
    )
    images = window(torch.from_numpy(square(image, OUTSIDE_HU)))
    return {
        "image": at_segmenter_size(images)[:, 0].numpy().astype(np.float16),
        "mask": _shares(mask),
        "lungs": _shares(lungs),
    }


def _shares(share: FloatArray) -> np.ndarray:
    slices = torch.from_numpy(square(share, 0))
    return np.round(255 * at_segmenter_size(slices)[:, 0].clamp(0, 1).numpy()).astype(np.uint8)


def _infected_example(host: Host, rng: np.random.Generator) -> Example:
    host = with_confounder(host, rng)
    if rng.random() < HEALTHY_SHARE:
        return _example(host.volume_hu, np.zeros(host.lungs.shape, bool), host.lungs > 0, rng)
    volume_hu, mask, _ = add_infection(host, rng, rng.choice(list(INFECTIONS)))
    return _example(volume_hu, mask, host.lungs > 0, rng)


def real_examples(data_dir: Path, name: str, seed: int) -> Example:
    """Make slices of one real chest with many different infections."""
    host = real_host(data_dir, name, HOST_SPACING_MM)
    rng = np.random.default_rng([seed, len(name), ord(name[-1])])
    return join_examples([_infected_example(host, rng) for _ in range(N_INFECTIONS["real"])])


def synthetic_examples(data_dir: Path, anatomy: str, seed: int) -> Example:
    """Make slices of a synthetic chest with several different infections."""
    rng = np.random.default_rng([seed, int(anatomy)])
    host = synthetic_host(data_dir, anatomy, rng, HOST_SPACING_MM)
    return join_examples([_infected_example(host, rng) for _ in range(N_INFECTIONS["synthetic"])])


def phantom_examples(seed: int) -> Example:
    """Make slices of a phantom."""
    phantom = make_thorax(
        seed, spacing_mm=PHANTOM_SPACING_MM, disease=PHANTOM_DISEASES[seed % len(PHANTOM_DISEASES)]
    )
    volume_hu = phantom.volume_hu.astype(np.float32)
    return _example(volume_hu, phantom.opacity > 0, phantom.lobes > 0, np.random.default_rng(seed))


def training_slices(options: Options) -> Example:
    """Make the training slices that are not in the cache yet; load all into memory."""
    folder = options.run_dir / f"seed{options.seed}"
    first = 1000 * options.seed
    paths = []
    for kind, split, n, make in (
        ("real", "real_chests", N_REAL, real_examples),
        ("synthetic", "anatomies", N_SYNTHETIC, synthetic_examples),
    ):
        jobs: dict[str, tuple[Any, ...]] = {
            f"{name}-{number}": (options.data, name, first + number)
            for number in range(n)
            for name in read_split(split)["train"]
        }
        paths += build_examples(folder / kind, jobs, make)
    jobs = {str(seed): (seed,) for seed in range(FIRST_PHANTOM, FIRST_PHANTOM + N_PHANTOMS)}
    paths += build_examples(folder / "phantoms", jobs, phantom_examples)
    return join_examples(load_examples(paths))


def random_views(
    images: Tensor, masks: Tensor, lungs: Tensor, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw square crops around random lung points, at the slices' own scale.

    Another kernel, noise and field of view, BCET of the whole slice, another lighting, then a crop rotated up
    to 20 degrees and scaled a little.

    Args:
        images: windowed ``[batch, 320, 320]``.
        masks: shares of opacity in (0, 1), same shape.
        lungs: shares of lung in (0, 1), same shape.
        size: side length of the crops.
        generator: source of randomness.

    Returns:
        Network input ``[batch, 3, size, size]``, masks and lungs ``[batch, 1, size, size]``.
    """
    n = len(images)
    draw = torch.rand(3, n, generator=generator, device=generator.device) * 2 - 1
    whole = torch.stack([_other_appearance(images, generator), masks, lungs], 1)
    angle = draw[0] * np.deg2rad(20)
    scale = size / images.shape[-1]
    zoom_rows, zoom_columns = (scale * (1 + 0.18 * draw[1] + sign * 0.08 * draw[2]) for sign in (1, -1))
    centre_column, centre_row = _lung_points(masks, lungs, generator)
    rows = torch.stack([angle.cos() * zoom_columns, -angle.sin() * zoom_rows, centre_column], 1)
    columns = torch.stack([angle.sin() * zoom_columns, angle.cos() * zoom_rows, centre_row], 1)
    grid = functional.affine_grid(torch.stack([rows, columns], 1), [n, 3, size, size], align_corners=False)
    image, mask, lung = functional.grid_sample(whole, grid, align_corners=False).split(1, dim=1)
    return image.expand(-1, 3, -1, -1), mask.clamp(0, 1), lung.clamp(0, 1)


def _other_appearance(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change windowed slices ``[batch, rows, columns]`` as another scanner might, then apply BCET."""
    draw = torch.rand(5, len(images), 1, 1, 1, generator=generator, device=generator.device) * 2 - 1
    images = images[:, None]
    blurred = functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    noise = torch.randn(images.shape, generator=generator, device=generator.device)
    changed = (images + SHARPEST * draw[0] * (images - blurred) + NOISIEST * draw[1].abs() * noise).clamp(
        0, 1
    )
    seen = bcet(changed, BCET_MEAN + MEAN_CHANGE * draw[2])
    return ((seen - 0.5) * (1 + LIGHTING * draw[3]) + 0.5 + LIGHTING * draw[4]).clamp(0, 1)[:, 0]


def _lung_points(masks: Tensor, lungs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw a lung point of every slice, opacities preferred: column and row in (-1, 1)."""
    side = masks.shape[-1]
    picks = torch.multinomial((lungs + 3 * masks + 1e-4).flatten(1), 1, generator=generator)[:, 0]
    jitter = (torch.rand(2, len(picks), generator=generator, device=generator.device) - 0.5) * CENTRE_JITTER
    return (
        (2 * (picks % side) + 1) / side - 1 + jitter[0],
        (2 * (picks // side) + 1) / side - 1 + jitter[1],
    )
