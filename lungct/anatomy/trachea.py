"""The trachea, from which the airway tree grows and which is no part of the lungs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from lungct.anatomy.work_grid import MASK_BORDER, WorkGrid, dilate, from_grid, lay_grid, to_grid
from lungct.records import CtVolume, MaskArray, Trachea

WORK_SPACING_MM = (1.0, 1.0, 1.0)
"""Own decision: small enough for segmental bronchi, coarse enough for seconds on a CPU."""

MARGIN_MM = (5.0, 80.0, 10.0)
"""Reach of the search below, above and around the lungs: above lies the neck. Own decision."""

AIR_HU = -800.0
AREA_MM2 = (40.0, 700.0)
"""Sections from 7 mm across, a child's, to 30 mm, beyond the normal of adults (27 mm, Breatnach 1984)."""

HEIGHT_MM = 15.0
"""Least height that must be seen; a scan may begin just above the carina. Own decision."""

ABOVE = 0.35
"""Share of the lungs' height below which round air is gullet or bowel: the carina lies above the middle. Own
decision."""

OFF_CENTRE_MM = 40.0
LONGEST_TO_SHORTEST = 2.5
EMPTIEST_BOX_SHARE = 0.5
"""A sabre-sheath trachea is twice as deep as wide; a disc fills 0.79 of its box, a bent section half."""

DARKER_THAN_LUNG_HU = 20.0
"""Least difference between air without lung and the median of the lungs. Own decision."""

WALL_MM = 2.0
"""Thickness of the wall, which is no lung either. Own decision."""

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ChestOnGrid:
    """A chest on the work grid, with the masks of lungs and trachea; ``[slices, rows, columns]``, S, P, L."""

    grid: WorkGrid
    hu: FloatArray
    lungs: BoolArray
    trachea: BoolArray


def take_out_trachea(volume: CtVolume, lobes: MaskArray) -> tuple[MaskArray, Trachea | None]:
    """Take trachea and first parts of the main bronchi, wall included, out of the lobes.

    Args:
        volume: canonical volume.
        lobes: labels on the same grid, 0 outside the lungs.

    Returns:
        Labels of the same shape, and the trachea; the same array and None where no trachea is seen.
    """
    seen = look_for_trachea(volume, lobes)
    if seen is None:
        return lobes, None
    lumen_and_wall = dilate(torch.from_numpy(seen.trachea), WALL_MM, seen.grid.spacing_mm).numpy()
    kept = lobes.copy()
    kept[seen.grid.box] *= ~from_grid(lumen_and_wall, seen.grid)
    return kept, _place_in_volume(seen)


def _place_in_volume(seen: ChestOnGrid) -> Trachea | None:
    """Return the trachea on the voxels of the volume; None where it is thinner than they are."""
    lumen = from_grid(seen.trachea, seen.grid)
    if not lumen.any():
        return None
    (part,) = ndimage.find_objects(lumen.astype(np.uint8))
    i, j, k = (
        slice(outer.start + inner.start, outer.start + inner.stop)
        for outer, inner in zip(seen.grid.box, part, strict=True)
    )
    return Trachea((i, j, k), lumen[part].astype(np.uint8))


def look_for_trachea(volume: CtVolume, lobes: MaskArray, known: Trachea | None = None) -> ChestOnGrid | None:
    """Return the chest on the work grid, with its trachea; None without lobes or where none is seen.

    Args:
        volume: canonical volume.
        lobes: labels on the same grid, 0 outside the lungs.
        known: the trachea, where it has been found already.
    """
    if not lobes.any():
        return None
    grid = lay_grid(lobes, volume.spacing_mm, WORK_SPACING_MM, MARGIN_MM)
    hu = to_grid(volume.volume_hu, grid).numpy()
    lungs = to_grid((lobes > 0).astype(np.uint8), grid).numpy() > MASK_BORDER
    trachea = find_trachea(hu, lungs, grid.spacing_mm) if known is None else _lay_on_grid(known, grid, lobes)
    return None if trachea is None else ChestOnGrid(grid, hu, lungs, trachea)


def _lay_on_grid(known: Trachea, grid: WorkGrid, lobes: MaskArray) -> BoolArray | None:
    whole = np.zeros(lobes.shape, np.uint8)
    whole[known.box] = known.lumen
    lumen: BoolArray = to_grid(whole, grid).numpy() > MASK_BORDER
    return lumen if lumen.any() else None


def find_trachea(
    hu: FloatArray, lungs: BoolArray, spacing_mm: tuple[float, float, float]
) -> BoolArray | None:
    """Find the tallest stack of round sections of dark air enclosed by tissue near the middle of the lungs.

    Args:
        hu: ``[slices, rows, columns]``, axes S, P, L.
        lungs: the same shape, not empty; whether they hold the trachea does not matter.
        spacing_mm: of the three axes.

    Returns:
        Mask of the same shape; None where nothing looks like a trachea.
    """
    middle = _middle(lungs, spacing_mm)
    trachea = np.zeros(hu.shape, bool)
    stack = _tallest_stack(hu[middle], spacing_mm)
    if stack is None or np.median(hu[middle][stack]) > np.median(hu[lungs]) - DARKER_THAN_LUNG_HU:
        return None
    trachea[middle] = stack
    return trachea


def _middle(lungs: BoolArray, spacing_mm: tuple[float, float, float]) -> tuple[slice, slice, slice]:
    """Return where a trachea and the tissue around it may be: equally far to both sides of the middle."""
    slices = np.flatnonzero(lungs.any(axis=(1, 2)))
    lowest = int(slices[0] + ABOVE * (slices[-1] - slices[0]))
    columns = np.flatnonzero(lungs.any(axis=(0, 1)))
    middle = (columns[0] + columns[-1] + 1) / 2
    reach = min((OFF_CENTRE_MM + AREA_MM2[1] ** 0.5) / spacing_mm[2], middle, lungs.shape[2] - middle)
    return slice(lowest, None), slice(None), slice(round(middle - reach), round(middle + reach))


def _tallest_stack(hu: FloatArray, spacing_mm: tuple[float, float, float]) -> BoolArray | None:
    """Return the tallest stack of sections that could be a trachea's."""
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    sections, n_sections = ndimage.label(hu < AIR_HU, in_plane)
    area_mm2 = np.bincount(sections.ravel(), minlength=n_sections + 1) * spacing_mm[1] * spacing_mm[2]
    fits = (area_mm2 > AREA_MM2[0]) & (area_mm2 < AREA_MM2[1])
    for edge in (0, -1):
        fits[sections[:, edge]] = False
        fits[sections[:, :, edge]] = False
    middle_mm = hu.shape[2] / 2 * spacing_mm[2]
    for number, box in enumerate(ndimage.find_objects(sections), 1):
        fits[number] &= _is_round(box, area_mm2[number], middle_mm, spacing_mm)
    stacks, _ = ndimage.label(fits[sections])
    heights_mm = [(box[0].stop - box[0].start) * spacing_mm[0] for box in ndimage.find_objects(stacks)]
    if not heights_mm or max(heights_mm) < HEIGHT_MM:
        return None
    return np.asarray(stacks == int(np.argmax(heights_mm)) + 1)


def _is_round(
    box: tuple[slice, ...], area_mm2: float, middle_mm: float, spacing_mm: tuple[float, float, float]
) -> bool:
    """Tell whether a section is compact and near the middle."""
    _, rows, columns = box
    depth_mm = (rows.stop - rows.start) * spacing_mm[1]
    width_mm = (columns.stop - columns.start) * spacing_mm[2]
    off_mm = abs((columns.start + columns.stop) / 2 * spacing_mm[2] - middle_mm)
    compact = max(depth_mm, width_mm) < LONGEST_TO_SHORTEST * min(depth_mm, width_mm)
    fills = area_mm2 > EMPTIEST_BOX_SHARE * depth_mm * width_mm
    return bool(compact and fills and off_mm < OFF_CENTRE_MM)
