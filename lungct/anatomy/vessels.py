"""Pulmonary vessels: whatever is bright, narrow in every plane and long.

A bright tube is what a greyscale opening removes in all three planes at once: a fissure or the pleura stays
in the plane along it, a consolidation in every plane. What the opening removed is sharpened by the blur of
the scanner, so that the mask ends where the vessel does and not where its halo ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lungct.anatomy.work_grid import dilated, from_grid, lay_grid, narrow_height, resized, to_grid
from lungct.records import CtVolume, MaskArray

FINEST_MM = 0.6
MARGIN_MM = (10.0, 10.0, 10.0)
BRANCH_MM = 9.0
TRUNK_MM = 16.0
TRUNK_GRID_MM = 1.2
TRUNK_SHARE = 0.8
TRUNK_REACH_MM = 3.0
CLIP_HU = (-1000.0, 500.0)
CORE_HU = 500.0
BEND_WEIGHT = 0.5
FAINTEST_HU = 120.0
VESSEL_SHARE = 0.48
SHORTEST_MM = 8.0
AIRWAY_WALL_MM = 0.8

BoolArray = npt.NDArray[np.bool_]


def segment_vessels(
    volume: CtVolume, lobes: MaskArray, airways: MaskArray, device: torch.device | str = "cpu"
) -> MaskArray:
    vessels = np.zeros(volume.volume_hu.shape, np.uint8)
    if not lobes.any():
        return vessels
    wanted = [max(step, FINEST_MM) for step in volume.spacing_mm]
    grid = lay_grid(lobes, volume.spacing_mm, wanted, MARGIN_MM)
    hu = to_grid(volume.volume_hu, grid, device).clamp(*CLIP_HU)
    lungs = to_grid((lobes > 0).astype(np.uint8), grid, device) > 0.5
    walls = dilated(to_grid(airways, grid, device) > 0.0, AIRWAY_WALL_MM, grid.spacing_mm)
    found = tubes(hu, lungs & ~walls, grid.spacing_mm).cpu().numpy()
    vessels[grid.box] = from_grid(long_pieces(found, grid.spacing_mm), grid) & (lobes[grid.box] > 0)
    return vessels


def tubes(hu: Tensor, lungs: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """Where a voxel is more vessel than anything else.

    Height alone would include the halo of blur around a vessel, curvature alone noise. Both are measured
    against the cores of thick vessels in this very scan, since kernel, dose and contrast medium change them.

    Args:
        hu: ``[slices, rows, columns]``.
        lungs: where to look.
        spacing_mm: of the three axes.

    Returns:
        Mask of the same shape; empty if no thick vessel is seen.
    """
    height = narrow_height(hu.round().short(), BRANCH_MM, spacing_mm)
    height = (height - height[lungs].median()).float()
    core = lungs & (height > CORE_HU)
    if not core.any():
        return core
    bend = laplacian(height, spacing_mm).neg_()
    contrast_hu = float(hu[core].median() - hu[lungs].median())
    bend.mul_(BEND_WEIGHT / float(bend[core].median().clamp_min(1.0)))
    bend.add_(height, alpha=1.0 / contrast_hu)
    branches = lungs & (bend > VESSEL_SHARE * (1.0 + BEND_WEIGHT)) & (height > FAINTEST_HU)
    trunks = _trunks(hu, contrast_hu, spacing_mm) & dilated(branches, TRUNK_REACH_MM, spacing_mm)
    return branches | (lungs & trunks)


def _trunks(hu: Tensor, contrast_hu: float, spacing_mm: Sequence[float]) -> Tensor:
    """Wide and solid, seen on half the resolution: the inside of vessels too wide for the fine window."""
    shape = [max(1, round(n * step / TRUNK_GRID_MM)) for n, step in zip(hu.shape, spacing_mm, strict=True)]
    shape = [min(pair) for pair in zip(shape, hu.shape, strict=True)]
    coarse_mm = [n * step / m for n, step, m in zip(hu.shape, spacing_mm, shape, strict=True)]
    height = narrow_height(resized(hu, shape, "area").round().short(), TRUNK_MM, coarse_mm)
    return resized(height.float(), hu.shape) > TRUNK_SHARE * contrast_hu


def laplacian(values: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """Sum of the second derivatives, unit per mm²; 0 where an edge of the array is too near."""
    total = torch.zeros_like(values)
    for axis, step in enumerate(spacing_mm):
        n_inner = values.shape[axis] - 2
        if n_inner > 0:
            before, here, after = (values.narrow(axis, k, n_inner) for k in range(3))
            total.narrow(axis, 1, n_inner).add_(before + after - 2 * here, alpha=1 / step**2)
    return total


def long_pieces(mask: BoolArray, spacing_mm: Sequence[float]) -> BoolArray:
    pieces, n_pieces = cc3d.connected_components(mask, connectivity=26, return_N=True)
    boxes = cc3d.statistics(pieces)["bounding_boxes"]
    extent_mm = [np.linalg.norm([(s.stop - s.start) * mm for s, mm in zip(box, spacing_mm)]) for box in boxes]
    kept = np.array(extent_mm) >= SHORTEST_MM
    kept[0] = False
    return kept[pieces]
