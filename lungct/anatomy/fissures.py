"""Lobe borders that follow the fissures where these can be seen.

A network on a coarse grid knows where the lobes lie but not exactly where they meet. A fissure is a thin
sheet a little brighter than the lung beside it. Around every border, the sheets that run along it vote for
how far it has to move; the vote is averaged over a neighbourhood, since a border is smooth, and repeated in
narrower windows. Where nothing is seen nothing votes, and the border stays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lungct.records import HuArray, Lobe, MaskArray

FISSURES = (
    ((Lobe.LEFT_UPPER,), (Lobe.LEFT_LOWER,)),
    ((Lobe.RIGHT_UPPER, Lobe.RIGHT_MIDDLE), (Lobe.RIGHT_LOWER,)),
    ((Lobe.RIGHT_UPPER,), (Lobe.RIGHT_MIDDLE,)),
)
"""Left oblique, right oblique, horizontal fissure: the lobes in front of or above it, and those beyond."""

PARENCHYMA_HU = (-980.0, -780.0)
"""Grey values between which fissures stand out from lung; vessels are clipped to the upper one."""

SHEET_SIGMA_MM = 1.5
NORMAL_SIGMA_MM = 4.0
COHERENCE_SIGMA_MM = 3.0
STRONGEST_SHEET_HU_MM2 = 4.0
"""Curvature up to which sheets count, so that no single structure decides."""

WINDOWS_MM = ((8.0, 12.0), (5.0, 10.0), (4.0, 8.0))
"""Rounds of voting: how far from the border sheets are heard, and over what distance votes are averaged."""

STAYING_VOTE = 0.015
"""Weight of the present place: twice the vote of noise, about a tenth of a visible fissure (on phantoms)."""

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Spacing = Sequence[float]


def follow_fissures(lobes: MaskArray, volume_hu: HuArray, spacing_mm: Spacing) -> MaskArray:
    """Move the borders between lobes of a lung onto visible fissures.

    Args:
        lobes: ``[slices, rows, columns]``, :attr:`Lobe.label`, 0 outside the lungs.
        volume_hu: the same shape.
        spacing_mm: of the grid, about 2 mm.

    Returns:
        Labels of the same voxels.
    """
    moved = lobes.copy()
    for sides in FISSURES:
        one, other = (np.isin(moved, [lobe.label for lobe in side]) for side in sides)
        if not one.any() or not other.any():
            continue
        (box,) = ndimage.find_objects((one | other).astype(np.uint8))
        beyond = _displace_border(one[box], other[box], volume_hu[box], spacing_mm)
        moved[box] = _relabel(moved[box], beyond, [[lobe.label for lobe in side] for side in sides])
    return moved


def nearest_label(lobes: MaskArray) -> MaskArray:
    """Give every voxel the label of the nearest labelled one."""
    nearest = ndimage.distance_transform_edt(lobes == 0, return_distances=False, return_indices=True)
    extended: MaskArray = lobes[tuple(nearest)]
    return extended


def _relabel(lobes: MaskArray, is_first: BoolArray, labels: list[list[int]]) -> MaskArray:
    """Give voxels that changed sides the nearest label of their new side."""
    result = lobes.copy()
    involved = np.isin(lobes, labels[0] + labels[1])
    for side, belongs in zip(labels, (is_first, ~is_first), strict=True):
        stays = np.isin(lobes, side)
        changed = involved & belongs & ~stays
        result[changed] = side[0] if len(side) == 1 else nearest_label(lobes * stays)[changed]
    return result


def _displace_border(one: BoolArray, other: BoolArray, volume_hu: HuArray, spacing_mm: Spacing) -> BoolArray:
    """Return the side of ``one`` after the border has moved."""
    distance_mm = _measure_signed_distance_mm(one, other, spacing_mm)
    interior = ndimage.binary_erosion(one | other, iterations=2)
    strength = _measure_sheet_strength(
        _even_out_background(one | other, volume_hu, spacing_mm), distance_mm, spacing_mm
    )
    strength = _smooth(np.where(interior, strength, 0), COHERENCE_SIGMA_MM, spacing_mm) ** 2
    strength *= interior
    shift_mm = np.zeros_like(distance_mm)
    for reach_mm, neighbourhood_mm in WINDOWS_MM:
        vote = strength * np.exp(-(((distance_mm - shift_mm) / reach_mm) ** 2) / 2)
        weight = _smooth(vote, neighbourhood_mm, spacing_mm)
        votes = _smooth(vote * distance_mm, neighbourhood_mm, spacing_mm)
        shift_mm = (votes + STAYING_VOTE * shift_mm) / (weight + STAYING_VOTE)
    return np.asarray(distance_mm > shift_mm)


def _measure_signed_distance_mm(one: BoolArray, other: BoolArray, spacing_mm: Spacing) -> FloatArray:
    """Measure the distance to the other side: positive in ``one``, negative beyond."""
    from_other = ndimage.distance_transform_edt(~other, sampling=spacing_mm)
    from_one = ndimage.distance_transform_edt(~one, sampling=spacing_mm)
    signed: FloatArray = np.where(one, from_other, -from_one).astype(np.float32)
    return signed


def _even_out_background(lung: BoolArray, volume_hu: HuArray, spacing_mm: Spacing) -> FloatArray:
    """Clip grey values, and continue them outside the lung by its local mean lest the pleura make a sheet."""
    clipped = np.clip(volume_hu, *PARENCHYMA_HU).astype(np.float32)
    share = np.maximum(_smooth(lung, 6.0, spacing_mm), 1e-3)
    even: FloatArray = np.where(lung, clipped, _smooth(clipped * lung, 6.0, spacing_mm) / share)
    return even


def _measure_sheet_strength(grey: FloatArray, distance_mm: FloatArray, spacing_mm: Spacing) -> FloatArray:
    """Measure the curvature across the border less that along it, HU/mm²: large on sheets, not on tubes.

    The second derivatives are those of a Gaussian; the normal is the gradient of the smoothed distance.
    """
    gradient = np.gradient(_smooth(distance_mm, NORMAL_SIGMA_MM, spacing_mm), *spacing_mm)
    length = np.linalg.norm(gradient, axis=0) + 1e-6
    normal = [component / length for component in gradient]
    across, total = np.zeros_like(grey), np.zeros_like(grey)
    for i in range(3):
        for j in range(i, 3):
            order = [int(axis == i) + int(axis == j) for axis in range(3)]
            curvature = -_smooth(grey, SHEET_SIGMA_MM, spacing_mm, order) / (spacing_mm[i] * spacing_mm[j])
            across += (1 if i == j else 2) * curvature * normal[i] * normal[j]
            total += curvature if i == j else 0
    strength: FloatArray = np.clip(across - np.abs(total - across), 0, STRONGEST_SHEET_HU_MM2)
    return strength


def _smooth(
    array: npt.NDArray[np.float32] | BoolArray,
    sigma_mm: float,
    spacing_mm: Spacing,
    order: Sequence[int] = (0, 0, 0),
) -> FloatArray:
    sigma = [sigma_mm / mm for mm in spacing_mm]
    smoothed: FloatArray = ndimage.gaussian_filter(array.astype(np.float32), sigma, order=order)
    return smoothed
