"""Turn arrays between their stored orientation and the canonical one."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from nibabel import orientations

from lungct.records import CtVolume, Float64Array, HuArray

CANONICAL = orientations.axcodes2ornt(("S", "P", "L"))
"""Directions in which slice, row and column indices of a canonical array grow."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

Scalar = TypeVar("Scalar", bound=np.generic)


def canonical_volume(volume_hu: HuArray, spacing_mm: tuple[float, float, float]) -> CtVolume:
    """Return a volume around an array ``[slices, rows, columns]`` whose axes already run along S, P, L."""
    return CtVolume(volume_hu, np.diag([*spacing_mm, 1.0])[[2, 1, 0, 3]])


def to_canonical(source: CtVolume) -> CtVolume:
    """Turn a volume to the axes S, P, L: its voxels are flipped and transposed, none is interpolated.

    Slice 0 of the result is the most caudal, row 0 the most anterior, column 0 the patient's right.
    """
    change = orientations.ornt_transform(_find_orientation(source), CANONICAL)
    view = orientations.apply_orientation(source.volume_hu, change)
    affine = source.affine_lps @ orientations.inv_ornt_aff(change, source.volume_hu.shape)
    return CtVolume(view, affine, source.flags)


def from_canonical(array: npt.NDArray[Scalar], source: CtVolume) -> npt.NDArray[Scalar]:
    """Turn an array from the grid of ``to_canonical(source)`` back to the grid of ``source``."""
    change = orientations.ornt_transform(CANONICAL, _find_orientation(source))
    view: npt.NDArray[Scalar] = orientations.apply_orientation(array, change)
    return view


def _find_orientation(source: CtVolume) -> Float64Array:
    orientation: Float64Array = orientations.io_orientation(LPS_TO_RAS @ source.affine_lps)
    return orientation
