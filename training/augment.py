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
