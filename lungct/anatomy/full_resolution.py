"""Masks and probabilities brought from a coarse grid to the voxels of the volume, where they matter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

Box = tuple[slice, slice, slice]

SLAB_SLICES = 16
"""Slices interpolated at a time, which bounds the memory."""


def box_around(mask: Tensor, shape: Sequence[int]) -> Box:
    """Return the box of a volume of ``shape`` into which interpolation carries anything of a coarse mask.

    Args:
        mask: bool ``[slices, rows, columns]``, not empty, of the volume's extent.
        shape: shape of the volume.
    """
    parts = []
    for axis, n in enumerate(shape):
        inside = mask.any(dim=[k for k in range(3) if k != axis]).nonzero()
        step = n / mask.shape[axis]
        start, stop = (int(inside[0]) - 0.5) * step - 0.5, (int(inside[-1]) + 1.5) * step - 0.5
        parts.append(slice(max(0, math.floor(start)), min(n, math.ceil(stop) + 1)))
    return parts[0], parts[1], parts[2]


def slabs(box: Box) -> Iterator[Box]:
    """Yield the box in pieces of a few slices."""
    for start in range(box[0].start, box[0].stop, SLAB_SLICES):
        yield slice(start, min(start + SLAB_SLICES, box[0].stop)), box[1], box[2]


def interpolated(coarse: Tensor, shape: Sequence[int], box: Box) -> Tensor:
    """Interpolate a box of the volume trilinearly, as :func:`torch.nn.functional.interpolate` does.

    Args:
        coarse: ``[slices, rows, columns]``, of the volume's extent; float, or a mask.
        shape: of the volume.
        box: the wanted voxels.
    """
    n_slices, n_rows, n_columns = shape
    centres = (torch.arange(box[0].start, box[0].stop) + 0.5) * coarse.shape[0] / n_slices - 0.5
    centres = centres.clamp(0, coarse.shape[0] - 1).to(coarse.device)
    below = centres.long()
    above = (below + 1).clamp_max(coarse.shape[0] - 1)
    slab = torch.lerp(coarse[below].float(), coarse[above].float(), (centres - below)[:, None, None])
    whole = functional.interpolate(slab[None], (n_rows, n_columns), mode="bilinear")[0]
    return whole[:, box[1], box[2]]
