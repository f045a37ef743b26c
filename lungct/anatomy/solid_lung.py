"""Parts of the lobes that are solid and far from any air: consolidation, a mass, or no lung at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lungct.anatomy.work_grid import MASK_BORDER, from_grid, lay_grid, to_grid
from lungct.records import CtVolume, Lobe, MaskArray

GRID_MM = (2.5, 2.5, 2.5)
MEAN_VOXELS = 2
"""Side of the cubes that are averaged, 5 mm: over these, noise and small bronchi and vessels level out."""

SOLID_HU = -200.0
"""Density of lung with a fifth of its normal air. Own decision."""

AIR_FILLED_HU = -400.0
"""Half-way between aerated lung (about -850 HU) and soft tissue (about 40 HU)."""

FAR_MM = 12.0
"""Distance larger than vessels, bronchi and nodules around which lung is air-filled. Own decision."""

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SolidLung:
    """Solid lung far from air-filled lung: millilitres in each lobe, and a mask on the volume's grid."""

    lobe_ml: Mapping[Lobe, float]
    mask: BoolArray


def find_solid_lung(volume: CtVolume, lobes: MaskArray) -> SolidLung:
    """Mark lung of a canonical volume that is solid and farther than 12 mm from air-filled lung."""
    mask = np.zeros(lobes.shape, bool)
    if lobes.any():
        grid = lay_grid(lobes, volume.spacing_mm, GRID_MM, (0.0, 0.0, 0.0))
        hu = to_grid(volume.volume_hu, grid).numpy()
        lungs = to_grid((lobes > 0).astype(np.uint8), grid).numpy() > MASK_BORDER
        found = mark_solid_far_lung(hu, lungs, grid.spacing_mm)
        if found.any():
            mask[grid.box] = from_grid(found, grid) & (lobes[grid.box] > 0)
    voxels = np.bincount(lobes[mask], minlength=len(Lobe) + 1)
    return SolidLung({lobe: float(voxels[lobe.label] * volume.voxel_ml) for lobe in Lobe}, mask)


def mark_solid_far_lung(
    hu: npt.NDArray[np.float32], lungs: BoolArray, spacing_mm: tuple[float, float, float]
) -> BoolArray:
    """Mark lung that is solid and far from air-filled lung, on a grid of about 2.5 mm.

    Args:
        hu: ``[slices, rows, columns]``.
        lungs: mask of the same shape.
        spacing_mm: of the three axes.
    """
    mean_hu = ndimage.uniform_filter(hu, MEAN_VOXELS)
    air_filled = lungs & (mean_hu < AIR_FILLED_HU)
    solid = lungs & (mean_hu > SOLID_HU)
    if not air_filled.any() or not solid.any():
        return np.asarray(solid)
    distance_mm = ndimage.distance_transform_edt(~air_filled, sampling=spacing_mm)
    return np.asarray(solid & (distance_mm > FAR_MM))
