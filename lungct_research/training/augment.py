"""Random changes of the place and the grey of training examples; left and right are never exchanged."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lungct_research.synthesis.fields import draw_field, draw_shares


class View(NamedTuple):
    """Where a sampled box lies in its source.

    Attributes:
        shape: slices, rows, columns of the source.
        centre: of the box, in voxels of the source from its corner.
    """

    shape: tuple[int, ...]
    centre: tuple[float, ...]


def random_warp(
    shape: tuple[int, int, int],
    generator: torch.Generator,
    max_degrees: float,
    max_scale: float,
    bend_voxels: float,
    knot_voxels: int = 12,
    source: View | None = None,
) -> Tensor:
    """Draw the sampling grid of a scaling, rotation and smooth bend for ``functional.grid_sample``.

    Args:
        shape: slices, rows, columns of what is sampled.
        generator: source of randomness; the grid lies on its device.
        max_degrees: largest rotation about each axis.
        max_scale: each axis is scaled by up to one plus this, or one less it.
        bend_voxels: deviation of the smooth displacement, in voxels.
        knot_voxels: over how many voxels the displacement changes.
        source: what it is sampled from, with voxels of the same size; by default something of the same shape.

    Returns:
        ``[1, slices, rows, columns, 3]``, the last axis in ``grid_sample``'s order: columns, rows, slices.
    """
    source = source or View(shape, tuple(n / 2 for n in shape))
    device = generator.device
    size, source_size, centre = (
        torch.tensor(values[::-1], dtype=torch.float32) for values in (shape, source.shape, source.centre)
    )
    matrix = _rotation(generator, math.radians(max_degrees))
    matrix = matrix * (1 + max_scale * _uniform(generator, 3).cpu())
    matrix = matrix * (size[None, :] / source_size[:, None])
    theta = torch.cat([matrix, (2 * centre / source_size - 1)[:, None]], dim=1)[None].to(device)
    grid = functional.affine_grid(theta, [1, 1, *shape], align_corners=False)
    n_knots = [max(n // knot_voxels, 2) for n in shape]
    knots = torch.randn(1, 3, *n_knots, generator=generator, device=device)
    bend = functional.interpolate(knots, shape, mode="trilinear", align_corners=True)
    return grid + bend.permute(0, 2, 3, 4, 1) * (bend_voxels * 2 / source_size).to(device)


def _uniform(generator: torch.Generator, n: int) -> Tensor:
    return torch.rand(n, generator=generator, device=generator.device) * 2 - 1


def _rotation(generator: torch.Generator, max_radians: float) -> Tensor:
    rotation = torch.eye(3)
    for axis, angle in enumerate((_uniform(generator, 3) * max_radians).tolist()):
        first, second = [other for other in range(3) if other != axis]
        turn = torch.eye(3)
        turn[first, first] = turn[second, second] = math.cos(angle)
        turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
        rotation = rotation @ turn
    return rotation


def random_intensity(image: Tensor, generator: torch.Generator) -> Tensor:
    """Change gain, offset and noise of an image in (0, 1) a little, any shape."""
    gain, offset, noise = draw_shares(generator, 3)
    changed = image * (0.95 + 0.1 * gain) + 0.06 * (offset - 0.5)
    grain = torch.randn(image.shape, generator=generator, device=generator.device)
    return (changed + grain * (0.03 * noise)).clamp(0.0, 1.0)


def random_sharpness(image: Tensor, generator: torch.Generator) -> Tensor:
    """Take detail away from ``[slices, rows, columns]``, or add some, as kernels and thick slices do."""
    for window, strongest in (((1, 3, 3), 0.8), ((3, 1, 1), 0.8)):
        padding = tuple(n // 2 for n in window)
        smooth = functional.avg_pool3d(image[None], window, 1, padding, count_include_pad=False)[0]
        image = image + strongest * float(_uniform(generator, 1)) * (image - smooth)
    return image


CONSOLIDATED_SHARE = 0.8
LOBAR_SHARE = 0.3
TISSUE_GREY = (0.78, 0.9)
"""-80 to 100 HU in the lung window."""
HAZE_GREY = (0.4, 0.78)
HAZE_SHARE = 0.25
RADIUS_MM = (15.0, 80.0)
BRONCHOGRAM_SHARE = 0.5
BRONCHOGRAM_KNOT_MM = 25.0
BRONCHOGRAM_WIDTH = 0.12
"""Of the consolidations that keep air in their bronchi, how far these bend, and how wide they are in units of
the random fields whose common zeros they follow: about 3 mm. Own decision."""


def random_consolidation(
    image: Tensor, labels: Tensor, spacing_mm: float, generator: torch.Generator
) -> Tensor:
    """Most images with one to three dense regions inside the lungs, up to whole lobes.

    What a network shall call lung is then told by place and shape, no longer by density alone.

    Args:
        image: ``[slices, rows, columns]`` in (0, 1).
        labels: the same shape, 0 outside the lungs, else the lobe or any number for lung.
        spacing_mm: of the grid.
        generator: source of randomness.
    """
    lung = labels > 0
    inside = lung.flatten().nonzero()[:, 0]
    chosen, number = draw_shares(generator, 2)
    if not len(inside) or chosen > CONSOLIDATED_SHARE:
        return image
    for _ in range(1 + int(3 * number)):
        at, lobar, haze, grey, bronchi = draw_shares(generator, 5)
        place = int(inside[int(at * len(inside))])
        region = labels == labels.flatten()[place] if lobar < LOBAR_SHARE else lung
        share = _rough_ball(tuple(image.shape), place, spacing_mm, generator) * region
        if bronchi < BRONCHOGRAM_SHARE:
            share = share * (1 - _random_tubes(tuple(image.shape), spacing_mm, generator))
        low, high = HAZE_GREY if haze < HAZE_SHARE else TISSUE_GREY
        image = image + share * ((low + (high - low) * grey) - image).clamp_min(0)
    return image


def _rough_ball(shape: tuple[int, ...], place: int, spacing_mm: float, generator: torch.Generator) -> Tensor:
    """1 inside an uneven ellipsoid around a flat index, 0 outside."""
    device = generator.device
    centre = [int(at) for at in np.unravel_index(place, shape)]
    low, high = (radius / spacing_mm for radius in RADIUS_MM)
    size, *stretch = draw_shares(generator, 4)
    radius = low * (high / low) ** size
    radii = [radius * (0.6 + 0.8 * share) for share in stretch]
    axes = torch.meshgrid(*(torch.arange(n, device=device) for n in shape), indexing="ij")
    level = sum(
        ((axis - at) / reach) ** 2 for axis, at, reach in zip(axes, centre, radii, strict=True)
    ).sqrt()
    rough = draw_field(shape, 30 / spacing_mm, generator)
    share: Tensor = (0.5 + (1 - level + 0.25 * rough) * radius).clamp(0, 1)
    return share


def _random_tubes(shape: tuple[int, ...], spacing_mm: float, generator: torch.Generator) -> Tensor:
    """1 in the middle of bent tubes, as bronchi that still hold air, falling to 0 beside them."""
    fields = [draw_field(shape, BRONCHOGRAM_KNOT_MM / spacing_mm, generator) for _ in range(2)]
    tubes: Tensor = torch.exp(-(fields[0].square() + fields[1].square()) / BRONCHOGRAM_WIDTH**2)
    return tubes
