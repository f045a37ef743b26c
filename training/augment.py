"""Random changes of training examples: space and intensity. Left and right are never exchanged."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def random_warp(
    shape: tuple[int, int, int],
    generator: torch.Generator,
    max_degrees: float,
    max_scale: float,
    bend_voxels: float,
    knot_voxels: int = 12,
) -> Tensor:
    """Sampling grid of a random scaling, rotation and smooth bend for ``functional.grid_sample``.

    Args:
        shape: slices, rows, columns.
        generator: source of randomness.
        max_degrees: largest rotation about each axis.
        max_scale: each axis is scaled by up to one plus this, or one less it.
        bend_voxels: deviation of the smooth displacement, in voxels.
        knot_voxels: over how many voxels the displacement changes.

    Returns:
        ``[1, slices, rows, columns, 3]``, the last axis in ``grid_sample``'s order: columns, rows, slices.
    """
    size = torch.tensor(shape[::-1], dtype=torch.float32)
    matrix = _rotation(generator, math.radians(max_degrees))
    matrix = matrix * (1 + max_scale * _uniform(generator, 3))
    matrix = matrix * (size[None, :] / size[:, None])
    theta = torch.cat([matrix, torch.zeros(3, 1)], dim=1)[None]
    grid = functional.affine_grid(theta, [1, 1, *shape], align_corners=False)
    knots = torch.randn(1, 3, *(max(n // knot_voxels, 2) for n in shape), generator=generator)
    bend = functional.interpolate(knots, shape, mode="trilinear", align_corners=True)
    return grid + bend.permute(0, 2, 3, 4, 1) * (bend_voxels * 2 / size)


def _uniform(generator: torch.Generator, n: int) -> Tensor:
    return torch.rand(n, generator=generator) * 2 - 1


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
    """Small changes of gain, offset and noise of an image in (0, 1), any shape."""
    gain, offset, noise = torch.rand(3, generator=generator).tolist()
    changed = image * (0.95 + 0.1 * gain) + 0.06 * (offset - 0.5)
    changed = changed + torch.randn(image.shape, generator=generator) * (0.03 * noise)
    return changed.clamp(0.0, 1.0)


CONSOLIDATED_SHARE = 0.7
LOBAR_SHARE = 0.3
TISSUE_GREY = (0.78, 0.9)
"""-80 to 100 HU in the lung window."""
HAZE_GREY = (0.4, 0.78)
HAZE_SHARE = 0.25
RADIUS_MM = (15.0, 80.0)


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
    if not len(inside) or torch.rand(1, generator=generator) > CONSOLIDATED_SHARE:
        return image
    for _ in range(int(torch.randint(1, 4, (1,), generator=generator))):
        place = int(inside[torch.randint(len(inside), (1,), generator=generator)])
        is_lobar = torch.rand(1, generator=generator) < LOBAR_SHARE
        region = labels == labels.flatten()[place] if is_lobar else lung
        share = _rough_ball(tuple(image.shape), place, spacing_mm, generator) * region
        haze, grey = torch.rand(2, generator=generator).tolist()
        low, high = HAZE_GREY if haze < HAZE_SHARE else TISSUE_GREY
        image = image + share * ((low + (high - low) * grey) - image).clamp_min(0)
    return image


def _rough_ball(shape: tuple[int, ...], place: int, spacing_mm: float, generator: torch.Generator) -> Tensor:
    """1 inside an uneven ellipsoid around a flat index, 0 outside."""
    centre = torch.unravel_index(torch.tensor(place), shape)
    low, high = (radius / spacing_mm for radius in RADIUS_MM)
    radius = low * (high / low) ** float(torch.rand(1, generator=generator))
    radii = radius * (1 + 0.4 * _uniform(generator, 3))
    axes = torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
    level = sum(
        ((axis - at) / reach) ** 2 for axis, at, reach in zip(axes, centre, radii, strict=True)
    ).sqrt()
    knots = torch.randn(1, 1, *(max(round(n * spacing_mm / 30), 2) for n in shape), generator=generator)
    rough = functional.interpolate(knots, shape, mode="trilinear", align_corners=True)[0, 0]
    return (0.5 + (1 - level + 0.25 * rough) * radius).clamp(0, 1)
