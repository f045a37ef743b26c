"""Chests whose diaphragm stands higher: lungs are pressed together from below, the organs rise with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lungct_research.datasets.arrays import Spacing

TURN = 0.4
"""Share of the height of the raised lung, from its base, at which the displacement has fallen to a half."""

SOFTNESS = 0.12
"""Share of the same height over which it falls: 96 % of the displacement are left at the base, 1 % at the
apex."""

MIDLINE_SOFTNESS_MM = 10.0
"""Width over which the displacement of one side goes over into that of the other; own decision."""


@dataclass(frozen=True)
class LungExtent:
    """Ends of the lungs, in voxels from the first corner of their grid.

    Attributes:
        low: base of the left and of the right lung.
        high: apex of both.
        middle: column between them.
    """

    low: tuple[float, float]
    high: tuple[float, float]
    middle: float


def measure_extent(lungs: Tensor) -> LungExtent:
    """Measure where both lungs end.

    Args:
        lungs: bool ``[slices, rows, columns]``, axes S, P, L; not empty.
    """
    columns = lungs.any(dim=0).any(dim=0).nonzero()[:, 0]
    middle = (int(columns[0]) + int(columns[-1]) + 1) / 2
    ends = []
    for side in (lungs[:, :, round(middle) :], lungs[:, :, : round(middle)]):
        present = side.any(dim=2).any(dim=1)
        slices = (present if present.any() else lungs.any(dim=2).any(dim=1)).nonzero()[:, 0]
        ends.append((float(slices[0]), float(slices[-1]) + 1))
    (left_low, left_high), (right_low, right_high) = ends
    return LungExtent((left_low, right_low), (left_high, right_high), middle)


def heights_before(
    height: Tensor, column: Tensor, extent: LungExtent, raised: tuple[float, float], softness: float
) -> Tensor:
    """Return where what lies at a height of the raised chest lay before, in voxels.

    The displacement is largest below the base and falls towards the apex, so that heights never change their
    order. Nothing is fetched from below the volume: its lowest slice is repeated.

    Args:
        height: along the slices of the raised chest.
        column: along its columns; broadcasts with ``height``.
        extent: ends of the lungs before.
        raised: voxels by which the left and the right half of the diaphragm rise.
        softness: columns over which one side goes over into the other.
    """
    left_share = torch.sigmoid((column - extent.middle) / softness)
    before = height
    for share, low, high, by in zip(
        (left_share, 1 - left_share), extent.low, extent.high, raised, strict=True
    ):
        tall = max(high - low - by, 0.2 * (high - low))
        turn = low + by + TURN * tall
        before = before - share * by * torch.sigmoid((turn - height) / (SOFTNESS * tall))
    return torch.where(height >= 0, before.clamp_min(0.0), before)


def raise_diaphragm(
    volume: npt.NDArray[np.generic],
    lungs: npt.NDArray[np.bool_],
    spacing_mm: Spacing,
    left_mm: float,
    right_mm: float,
) -> npt.NDArray[np.float32]:
    """Return the volume with one or both halves of its diaphragm raised.

    Args:
        volume: ``[slices, rows, columns]``, axes S, P, L; HU, or a mask of 0 and 1.
        lungs: mask of the lungs before, of the same shape.
        spacing_mm: distance of the voxels along the three axes.
        left_mm: rise of the left half.
        right_mm: rise of the right half.
    """
    source = torch.from_numpy(np.ascontiguousarray(volume)).float()
    n_slices, _, n_columns = source.shape
    raised = (left_mm / spacing_mm[0], right_mm / spacing_mm[0])
    before = heights_before(
        torch.arange(n_slices)[:, None].float() + 0.5,
        torch.arange(n_columns)[None].float() + 0.5,
        measure_extent(torch.from_numpy(np.ascontiguousarray(lungs))),
        raised,
        MIDLINE_SOFTNESS_MM / spacing_mm[2],
    )
    before = (before - 0.5).clamp(0, n_slices - 1)
    lower = before.floor().long()
    upper = (lower + 1).clamp_max(n_slices - 1)
    share = (before - lower)[:, None]
    columns = torch.arange(n_columns)
    raised_volume = source[lower, :, columns].transpose(1, 2) * (1 - share)
    raised_volume += source[upper, :, columns].transpose(1, 2) * share
    return raised_volume.numpy()
