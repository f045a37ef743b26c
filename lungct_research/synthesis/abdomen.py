"""Organs below the diaphragm, painted at random into the image a lung network is shown.

They lie where lung that an infection has filled could lie: liver, spleen and kidneys in any phase of a
contrast medium, fat, stomach and colon with gas, a level of fluid, food or faeces.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lungct_research.synthesis.fields import draw_field, draw_shares

ORGANS = (1, 6)
"""Fewest and most organs painted into one image."""

RADIUS_MM = (12.0, 70.0)
GAS_SHARE = 0.45
"""Share of organs that are stomach or colon, with gas above fluid, food or faeces; own decision."""

GAS_GREY = (0.14, 0.2)
SOLID_GREY = (0.80, 0.96)
"""Grey of -50 to 190 HU: from unenhanced organs to spleen and kidneys with contrast medium."""

FAT_GREY = (0.75, 0.79)
FAT_SHARE = 0.2
CONTENT_GREY = (0.6, 0.9)
MOTTLE_GREY = 0.12
"""Unevenness of food and faeces: soft tissue with bubbles of gas; own decision."""

WALL_VOXELS = 1
"""Thickness of diaphragm and wall of the organ, which stay: the painted part never touches the lung."""

BONE_GREY = 0.98


def random_abdomen(image: Tensor, labels: Tensor, spacing_mm: float, generator: torch.Generator) -> Tensor:
    """Paint one to six organs below the lungs, inside the body; return the new image.

    Args:
        image: ``[slices, rows, columns]`` in (0, 1), the lung window; slice 0 is the most caudal one.
        labels: lobes, of the same shape, 0 outside the lungs.
        spacing_mm: distance of the voxels along all axes.
        generator: source of randomness, on the image's device.
    """
    room = _below_lungs(image, labels)
    spots = room.flatten().nonzero()[:, 0]
    if not len(spots):
        return image
    axes = torch.meshgrid(*(torch.arange(n, device=image.device) for n in image.shape), indexing="ij")
    number, *_ = draw_shares(generator, 1)
    for _ in range(ORGANS[0] + int((ORGANS[1] - ORGANS[0] + 1) * number)):
        at, kind, hollow, *sizes = draw_shares(generator, 6)
        centre = torch.unravel_index(spots[int(at * len(spots))], image.shape)
        low, high = (mm / spacing_mm for mm in RADIUS_MM)
        radii = [low * (high / low) ** size for size in sizes]
        level = sum(
            ((axis - middle) / radius) ** 2 for axis, middle, radius in zip(axes, centre, radii, strict=True)
        )
        organ = (level + 0.25 * draw_field(image.shape, 30 / spacing_mm, generator) < 1) & room
        if kind < GAS_SHARE:
            surface = centre[1] + radii[1] * (1.6 * hollow - 0.8)
            image = torch.where(organ, _content(image, generator), image)
            image = torch.where(organ & (axes[1] < surface), _pick(GAS_GREY, generator), image)
        else:
            grey = FAT_GREY if kind > 1 - FAT_SHARE else SOLID_GREY
            image = torch.where(organ, _pick(grey, generator), image)
    return image


def _below_lungs(image: Tensor, labels: Tensor) -> Tensor:
    """Mark soft tissue with lung above it, apart from a wall."""
    lung = (labels > 0).float()[None, None]
    wide = functional.max_pool3d(lung, 2 * WALL_VOXELS + 1, 1, WALL_VOXELS)[0, 0] > 0
    above = wide.flip(0).cumsum(0).flip(0) > 0
    return above & ~wide & (image > 0.7) & (image < BONE_GREY)


def _content(image: Tensor, generator: torch.Generator) -> Tensor:
    """Draw fluid, food or faeces for every voxel."""
    mottle, _ = draw_shares(generator, 2)
    speckle = torch.randn(image.shape, generator=generator, device=image.device)
    return (_pick(CONTENT_GREY, generator) + MOTTLE_GREY * mottle * speckle).clamp(0.0, 1.0)


def _pick(bounds: tuple[float, float], generator: torch.Generator) -> Tensor:
    low, high = bounds
    return low + (high - low) * torch.rand((), generator=generator, device=generator.device)
