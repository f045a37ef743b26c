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
) -> Tensor:
    """Sampling grid of a random scaling, rotation and smooth bend for ``functional.grid_sample``.

    Args:
        shape: slices, rows, columns.
        generator: source of randomness.
        max_degrees: largest rotation about each axis.
        max_scale: each axis is scaled by up to one plus this, or one less it.
        bend_voxels: deviation of the smooth displacement, in voxels.

    Returns:
        ``[1, slices, rows, columns, 3]``, the last axis in ``grid_sample``'s order: columns, rows, slices.
    """
    size = torch.tensor(shape[::-1], dtype=torch.float32)
    matrix = _rotation(generator, math.radians(max_degrees))
    matrix = matrix * (1 + max_scale * _uniform(generator, 3))
    matrix = matrix * (size[None, :] / size[:, None])
    theta = torch.cat([matrix, torch.zeros(3, 1)], dim=1)[None]
    grid = functional.affine_grid(theta, [1, 1, *shape], align_corners=False)
    knots = torch.randn(1, 3, *(max(n // 12, 2) for n in shape), generator=generator)
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


def random_consolidation(image: Tensor, lobes: Tensor, generator: torch.Generator) -> Tensor:
    """Most images with one to three dense regions inside the lungs, at the pleura more often than not.

    What a network shall call lung is then told by place and shape, no longer by density alone.

    Args:
        image: ``[1, 1, slices, rows, columns]`` in (0, 1), on a grid of about 5 mm.
        lobes: shares of the lobes, or of the lung alone, ``[1, lobes, slices, rows, columns]``.
        generator: source of randomness.
    """
    lung = lobes.sum(1, keepdim=True).clamp(0, 1)
    inside = (lung > 0.3).flatten().nonzero()[:, 0]
    if not len(inside) or torch.rand(1, generator=generator) > CONSOLIDATED_SHARE:
        return image
    for _ in range(int(torch.randint(1, 4, (1,), generator=generator))):
        place = int(inside[torch.randint(len(inside), (1,), generator=generator)])
        region = lung
        if torch.rand(1, generator=generator) < LOBAR_SHARE:
            lobe = int(lobes.flatten(2)[0, :, place].argmax())
            region = lobes[:, lobe : lobe + 1].clamp(0, 1)
        share = _rough_ball(tuple(image.shape[2:]), place, generator) * region
        haze, grey = torch.rand(2, generator=generator).tolist()
        low, high = HAZE_GREY if haze < HAZE_SHARE else TISSUE_GREY
        image = image + share * ((low + (high - low) * grey) - image).clamp_min(0)
    return image


def _rough_ball(shape: tuple[int, int, int], place: int, generator: torch.Generator) -> Tensor:
    """1 inside an uneven ellipsoid of 3 to 16 voxels' radius around a flat index, 0 outside."""
    centre = torch.unravel_index(torch.tensor(place), shape)
    radius = 3 * math.exp(1.7 * float(torch.rand(1, generator=generator)))
    radii = radius * (1 + 0.4 * _uniform(generator, 3))
    axes = torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
    level = sum(
        ((axis - at) / reach) ** 2 for axis, at, reach in zip(axes, centre, radii, strict=True)
    ).sqrt()
    knots = torch.randn(1, 1, *(max(n // 6, 2) for n in shape), generator=generator)
    rough = functional.interpolate(knots, shape, mode="trilinear", align_corners=True)
    return (0.5 + (1 - level + 0.25 * rough) * radius).clamp(0, 1)
