"""Pulmonary vessels: whatever is bright, narrow in every plane and long.

A bright tube is what greyscale openings remove in all three planes at once: a fissure stays in the plane
along it, a consolidation in every plane, and the lung's border too, since the chest wall behind it is wide.
The Laplacian then sharpens what was removed, as much as the kernel has blurred it, so that the mask ends
where the vessel does, not its halo.
"""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lungct.anatomy.work_grid import (
    MASK_BORDER,
    dilate,
    from_grid,
    lay_grid,
    measure_narrow_height,
    resample,
    to_grid,
)
from lungct.records import CtVolume, MaskArray

FINEST_MM = 0.6
"""Size below which voxels are merged, which bounds time and memory. Own decision."""

MARGIN_MM = (16.0, 16.0, 16.0)
"""Chest around the lungs, without which their border would stand out; as wide as the widest window."""

CLIP_HU = (-1000.0, 500.0)
"""From air to well above blood with contrast medium, lest metal raise everything around it. Own decision."""

BRANCH_MM = 9.0
"""Width up to which vessels stand out whole; beyond the hilum none is wider. Own decision."""

FAINTEST_HU = 120.0
"""Height below which there is noise and lung texture (some 20 HU, opening included some 60). Own decision."""

CORE_SHARE = 1 / 2000
CORE_HU = 300.0
"""Share of the lungs, about 2 ml, that stands out highest and so is the inside of thick vessels; where it is
lower than ``CORE_HU`` there are none. Own decision."""

FLANK_SHARES = (0.5, 0.8)
"""Range of heights, as part of the core's, in which curvature tells the blur of vessels of any calibre."""

VOXEL_BLUR = 0.16
SHARPEST_MM2 = 0.58
"""Blur of voxels (by their area) and of sharp kernels; what goes beyond is sharpened."""

VESSEL_SHARES = (0.33, 0.1)
"""Border of vessels as part of the core's height, and its rise per mm of voxel, which sharpening increases:
the coarser the voxels, the more vessels are too thin to fill half of one, and sharpening raises all of them.
These shares and the sharpening were chosen on phantoms 1, 2 and 5."""

TRUNK_MM = 16.0
TRUNK_GRID_MM = 1.2
TRUNK_SHARE = 0.85
TRUNK_REACH_MM = 3.0
"""Interlobar arteries are about 16 mm wide. What is too wide for a branch is taken only where it stands out
nearly as the core does and at most ``TRUNK_REACH_MM`` from a branch: consolidations are dense too. Own
decision."""

AIRWAY_WALL_MM = 1.5
"""Wall of a segmental bronchus; a thicker one would cost the artery that lies against it. Own decision."""

SHORTEST_MM = 8.0
"""Extent below which pieces are specks: noise, nodules, lymph nodes. Own decision."""

BoolArray = npt.NDArray[np.bool_]


def segment_vessels(
    volume: CtVolume, lobes: MaskArray, airways: MaskArray, device: torch.device | str = "cpu"
) -> MaskArray:
    """Find arteries and veins inside the lungs.

    Args:
        volume: canonical volume.
        lobes: labels on the same grid, 0 outside the lungs.
        airways: lumen on the same grid; its walls are left out.
        device: where to filter.

    Returns:
        ``[slices, rows, columns]``, 1 in vessels; never outside the lobes, empty without lobes.
    """
    vessels = np.zeros(volume.volume_hu.shape, np.uint8)
    if not lobes.any():
        return vessels
    wanted = [max(step, FINEST_MM) for step in volume.spacing_mm]
    grid = lay_grid(lobes, volume.spacing_mm, wanted, MARGIN_MM)
    hu = to_grid(volume.volume_hu, grid, device).clamp(*CLIP_HU)
    lungs = to_grid((lobes > 0).astype(np.uint8), grid, device) > MASK_BORDER
    walls = dilate(to_grid(airways, grid, device) > 0.0, AIRWAY_WALL_MM, grid.spacing_mm)
    found = find_tubes(hu, lungs & ~walls, grid.spacing_mm).cpu().numpy()
    vessels[grid.box] = from_grid(keep_long_pieces(found, grid.spacing_mm), grid) & (lobes[grid.box] > 0)
    return vessels


def find_tubes(hu: Tensor, lungs: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """Mark voxels that are more vessel than anything else.

    Everything is measured against the cores of thick vessels in this very scan, since kernel, dose and
    contrast medium change them.

    Args:
        hu: ``[slices, rows, columns]``.
        lungs: where to look.
        spacing_mm: of the three axes.

    Returns:
        Mask of the same shape; empty if no thick vessel is seen.
    """
    height = measure_narrow_height(hu.round().short(), BRANCH_MM, spacing_mm)
    height = (height - height[lungs].median()).float()
    heights = height[lungs]
    core_hu = float(heights.topk(max(1, int(CORE_SHARE * len(heights)))).values.median())
    if core_hu < CORE_HU:
        return torch.zeros_like(lungs)
    voxel_mm = float(np.cbrt(np.prod(spacing_mm)))
    bend = compute_laplacian(height, spacing_mm).neg_()
    low, high = (share * core_hu for share in FLANK_SHARES)
    flank = lungs & (height > low) & (height < high)
    sharpening_mm2 = _sharpening_mm2(height[flank], bend[flank], voxel_mm)
    score = bend.mul_(sharpening_mm2).add_(height)
    least, per_mm = VESSEL_SHARES
    border_hu = (least + per_mm * voxel_mm * (1 + sharpening_mm2)) * core_hu
    branches = lungs & (score > border_hu) & (height > FAINTEST_HU)
    trunks = _trunks(hu, core_hu, spacing_mm) & dilate(branches, TRUNK_REACH_MM, spacing_mm)
    return branches | (lungs & trunks)


def _sharpening_mm2(height: Tensor, bend: Tensor, voxel_mm: float) -> float:
    """Return the weight of curvature that makes up for the kernel's blur, from flanks of vessels ``[n]``."""
    curvature = float((bend / height).median()) if len(height) else 0.0
    if curvature <= 0:
        return 0.0
    return max(0.0, 1 / curvature - VOXEL_BLUR * voxel_mm**2 - SHARPEST_MM2)


def _trunks(hu: Tensor, core_hu: float, spacing_mm: Sequence[float]) -> Tensor:
    """Mark the inside of vessels too wide for the fine window, on half the resolution."""
    shape = [
        min(n, max(1, round(n * step / TRUNK_GRID_MM))) for n, step in zip(hu.shape, spacing_mm, strict=True)
    ]
    coarse_mm = [n * step / m for n, step, m in zip(hu.shape, spacing_mm, shape, strict=True)]
    height = measure_narrow_height(resample(hu, shape, "area").round().short(), TRUNK_MM, coarse_mm)
    return resample(height.float(), hu.shape) > TRUNK_SHARE * core_hu


def compute_laplacian(values: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """Return the sum of the second derivatives, unit per mm²; 0 where an edge of the array is too near."""
    total = torch.zeros_like(values)
    for axis, step in enumerate(spacing_mm):
        n_inner = values.shape[axis] - 2
        if n_inner > 0:
            before, here, after = (values.narrow(axis, k, n_inner) for k in range(3))
            total.narrow(axis, 1, n_inner).add_(before + after - 2 * here, alpha=1 / step**2)
    return total


def keep_long_pieces(mask: BoolArray, spacing_mm: Sequence[float]) -> BoolArray:
    """Drop 26-connected pieces of a mask whose box has a shorter diagonal than ``SHORTEST_MM``."""
    pieces = cc3d.connected_components(mask, connectivity=26)
    boxes = cc3d.statistics(pieces, no_slice_conversion=True)["bounding_boxes"].astype(np.int64)
    extents_mm = np.linalg.norm((boxes[:, 1::2] - boxes[:, ::2] + 1) * spacing_mm, axis=1)
    kept = extents_mm >= SHORTEST_MM
    kept[0] = False
    long: BoolArray = kept[pieces]
    return long
