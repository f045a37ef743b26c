"""Tell whether Hounsfield units look like a chest: air near -1000, soft tissue near 40 (or fat near -100)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lungct.records import HuArray, QualityFlag

AIR_MODE_HU = (-1100, -750)
"""Air is -1000; a picture cropped to the lungs peaks at inflated lung, about -850."""
TISSUE_MODE_HU = (-150, 120)
"""From fat, about -100, to muscle and blood, about 40, with contrast somewhat more."""
MIN_FRACTION = 0.02
"""Share of voxels that a chest has at least on either side."""
PLAIN_AIR_HU = -900
SOFT_TISSUE_HU = (-200, 250)
LARGEST_STEPS = (50.0, 0.2, 0.2)
"""From slice to slice: median of plain air in HU, shares of air and of soft tissue. In 13 real chests,
with slices up to 8 mm apart, they are at most 20 HU, 0.05 and 0.04; own decision."""

_SPLIT_HU = -400
_BIN_HU = 10
_INT16_HU = (-32768, 32767)
_SAMPLE_STEP = 4


def flag_implausible_hu(volume_hu: HuArray) -> tuple[QualityFlag, ...]:
    """Return a flag where the peak of air or of soft tissue is missing or lies elsewhere.

    Args:
        volume_hu: ``[slices, rows, columns]``; every fourth row and column is looked at.
    """
    sample = np.rint(volume_hu[:, ::_SAMPLE_STEP, ::_SAMPLE_STEP]).clip(*_INT16_HU).astype(np.int16).ravel()
    lowest_hu = int(sample.min())
    counts = np.bincount(sample.astype(np.intp) - lowest_hu)
    n_air = max(0, _SPLIT_HU - lowest_hu)
    sides = (
        ("air", lowest_hu, counts[:n_air], AIR_MODE_HU),
        ("soft tissue", lowest_hu + n_air, counts[n_air:], TISSUE_MODE_HU),
    )
    wrong = []
    for what, first_hu, side, (low_hu, high_hu) in sides:
        if side.sum() < MIN_FRACTION * sample.size:
            wrong.append(f"hardly any {what}")
        elif not low_hu <= (mode_hu := _mode_hu(side, first_hu)) <= high_hu:
            wrong.append(f"{what} peaks at {mode_hu} HU")
    if not wrong:
        return ()
    message = f"Hounsfield units look wrong: {', '.join(wrong)}; check the scanner's calibration and export"
    return (QualityFlag("LOW_HU_PLAUSIBILITY", message),)


def _mode_hu(counts: npt.NDArray[np.intp], first_hu: int) -> int:
    """Return the commonest value, in bins of ``_BIN_HU``, from the counts of those from ``first_hu`` on."""
    bins = np.rint((np.arange(len(counts)) + first_hu) / _BIN_HU).astype(np.intp)
    return int(np.bincount(bins - bins[0], counts).argmax() + bins[0]) * _BIN_HU


def flag_unequal_slices(volume_hu: HuArray) -> tuple[QualityFlag, ...]:
    """Return a flag where neighbouring slices disagree on air or body, as wrongly decoded ones do.

    Args:
        volume_hu: ``[slices, rows, columns]``; every fourth row and column is looked at.
    """
    levels = np.array([_levels(slice_hu) for slice_hu in volume_hu[:, ::_SAMPLE_STEP, ::_SAMPLE_STEP]])
    steps = np.nan_to_num(np.abs(np.diff(levels, axis=0)))
    n_odd = int(np.count_nonzero((steps > LARGEST_STEPS).any(axis=1)))
    if not n_odd:
        return ()
    message = f"air or body changes abruptly at {n_odd} places between slices; export the series again"
    return (QualityFlag("HU_DIFFER_BETWEEN_SLICES", message),)


def _levels(slice_hu: HuArray) -> tuple[float, float, float]:
    """Return the median of plain air, NaN where there is hardly any, and the shares of air and tissue."""
    air = slice_hu[slice_hu < PLAIN_AIR_HU]
    is_enough = air.size > MIN_FRACTION * slice_hu.size
    is_tissue = (slice_hu > SOFT_TISSUE_HU[0]) & (slice_hu < SOFT_TISSUE_HU[1])
    return (
        float(np.median(air)) if is_enough else np.nan,
        np.count_nonzero(slice_hu < AIR_MODE_HU[1]) / slice_hu.size,
        np.count_nonzero(is_tissue) / slice_hu.size,
    )
