"""Make one volume in Hounsfield units, with its place in the patient, from the slices of a series."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lungct.dicom_read.pixels import AIR_HU, read_slices_hu
from lungct.dicom_read.plausibility import flag_implausible_hu, flag_unequal_slices
from lungct.dicom_read.slice_grid import SliceGrid, Stack, even_grid, sort_slices
from lungct.errors import GeometryError
from lungct.records import CtVolume, Float64Array, HuArray, QualityFlag, Series

MAX_SHIFT_MM = 0.25
"""In-plane drift along a whole stack that is rounding: less than half a pixel of a chest CT."""

FloatArray = npt.NDArray[np.float32]
_Flags = tuple[QualityFlag, ...]


def read_volume(series: Series) -> CtVolume:
    """Read a series as a volume on a regular grid.

    Slices ascend along row direction x column direction, as SimpleITK and GDCM sort them. Identical
    duplicates are dropped, small gaps interpolated and tilted stacks sheared upright, each with a flag.

    Raises:
        GeometryError: the slices form no volume.
        PixelDataError: a slice cannot be decoded or does not hold Hounsfield units.
    """
    stack = sort_slices(series)
    unique = stack.select(stack.is_new)
    grid = even_grid(unique)
    volume_hu, word_flags = read_slices_hu(stack.slices)
    if duplicate_flags := _check_duplicates(stack, volume_hu):
        volume_hu = volume_hu[stack.is_new]
    volume_hu, corner_mm, tilt_flags = _upright(unique, volume_hu)
    volume_hu, gap_flags = _evenly_spaced(unique, grid, volume_hu)
    affine_lps = unique.affine_lps(grid.spacing_mm, corner_mm)
    acquisition_flags = _flag_alternating_acquisitions(unique)
    geometry_flags = (*duplicate_flags, *acquisition_flags, *tilt_flags, *gap_flags)
    hu_flags = (*word_flags, *flag_implausible_hu(volume_hu), *flag_unequal_slices(volume_hu))
    flags = (*series.flags, *geometry_flags, *hu_flags)
    images = () if tilt_flags or gap_flags else unique.slices
    return CtVolume(volume_hu, affine_lps, flags, images)


def _flag_alternating_acquisitions(stack: Stack) -> _Flags:
    """Flag slices whose acquisitions take turns along the normal: they may be two phases."""
    numbers = [image.acquisition_number for image in stack.slices]
    n_runs = sum(1 for _ in groupby(numbers))
    if n_runs == len(set(numbers)):
        return ()
    message = f"slices of {len(set(numbers))} acquisitions lie between each other; they may be two phases"
    return (QualityFlag("ACQUISITIONS_ALTERNATE", message),)


def _check_duplicates(stack: Stack, volume_hu: HuArray) -> _Flags:
    """Let identical copies of a slice pass with a flag and refuse different slices at one position."""
    copies = np.flatnonzero(~stack.is_new)
    for i in copies:
        if not np.array_equal(volume_hu[i - 1], volume_hu[i]):
            raise GeometryError(
                f"{stack.slices[i - 1].name} and {stack.slices[i].name} differ but lie at the same position; "
                f"send the phases of {stack.name} as series of their own",
                "SAME_POSITION",
            )
    if not copies.size:
        return ()
    return (QualityFlag("DUPLICATE_SLICES", f"{copies.size} copies of slices were left out"),)


def _upright(stack: Stack, volume_hu: HuArray) -> tuple[HuArray, Float64Array, _Flags]:
    """Shear slices that are shifted against each other onto one canvas large enough for all.

    Returns:
        The volume, the in-plane offset (rows, columns) of its corner from the first slice, and a flag.
    """
    if np.abs(stack.shifts_mm).max() <= MAX_SHIFT_MM:
        return volume_hu, np.zeros(2), ()
    corner_mm = stack.shifts_mm.min(axis=0)
    shifts = (stack.shifts_mm - corner_mm) / stack.pixel_spacing_mm
    canvas = tuple(np.array(volume_hu.shape[1:]) + np.ceil(shifts.max(axis=0)).astype(int))
    sheared = np.empty((len(volume_hu), *canvas), dtype=volume_hu.dtype)
    for out, pixels, shift in zip(sheared, volume_hu, shifts, strict=True):
        moved = ndimage.affine_transform(
            pixels.astype(np.float32), np.ones(2), -shift, canvas, order=1, cval=AIR_HU
        )
        out[:] = _rounded_like(moved, volume_hu)
    drift_mm = float(np.ptp(stack.shifts_mm, axis=0).max())
    message = f"gantry tilt: slices shifted by up to {drift_mm:.0f} mm were resampled onto an upright grid"
    return sheared, corner_mm, (QualityFlag("GANTRY_TILT_RESAMPLED", message),)


def _evenly_spaced(stack: Stack, grid: SliceGrid, volume_hu: HuArray) -> tuple[HuArray, _Flags]:
    """Interpolate linearly between neighbouring slices where the stack is not even."""
    if grid.is_even:
        return volume_hu, ()
    targets_mm = stack.distances_mm[0] + np.arange(grid.n_slices) * grid.spacing_mm
    places = np.interp(targets_mm, stack.distances_mm, np.arange(len(stack.slices)))
    even = np.empty((grid.n_slices, *volume_hu.shape[1:]), dtype=volume_hu.dtype)
    for out, place in zip(even, places, strict=True):
        below = min(int(place), len(stack.slices) - 2)
        weight = np.float32(place - below)
        out[:] = _rounded_like(volume_hu[below] * (1 - weight) + volume_hu[below + 1] * weight, volume_hu)
    return even, (_gap_flag(stack, grid),)


def _gap_flag(stack: Stack, grid: SliceGrid) -> QualityFlag:
    gaps_mm = np.diff(stack.distances_mm)
    if grid.n_missing:
        message = f"{grid.n_missing} missing slices were interpolated across up to {gaps_mm.max():.4g} mm"
        return QualityFlag("SLICES_MISSING", message)
    apart = f"{gaps_mm.min():.4g} to {gaps_mm.max():.4g} mm apart"
    message = f"slices {apart} were resampled to {grid.spacing_mm:.4g} mm"
    return QualityFlag("RESAMPLED_UNEVEN_SPACING", message)


def _rounded_like(pixels: FloatArray, volume_hu: HuArray) -> FloatArray:
    """Round pixels where the volume has whole numbers."""
    return np.rint(pixels) if volume_hu.dtype == np.int16 else pixels
