"""Do the Hounsfield units look like a chest? Air near -1000, soft tissue near 40 (or fat near -100)."""

from __future__ import annotations

import numpy as np

from lungct.records import HuArray, QualityFlag

AIR_MODE_HU = (-1100, -750)
"""Air is -1000; a picture cropped to the lungs peaks at inflated lung, about -850."""
TISSUE_MODE_HU = (-150, 120)
"""From fat, about -100, to muscle and blood, about 40, with contrast somewhat more."""
MIN_FRACTION = 0.02
"""Share of voxels that a chest has at least on either side."""
_SPLIT_HU = -400
_BIN_HU = 10
_SAMPLE_STEP = 4


def flag_implausible_hu(volume_hu: HuArray) -> tuple[QualityFlag, ...]:
    """One flag where the peak of air or of soft tissue is missing or lies elsewhere, else none.

    Args:
        volume_hu: ``[slices, rows, columns]``; every fourth row and column is looked at.
    """
    sample = volume_hu[:, ::_SAMPLE_STEP, ::_SAMPLE_STEP].ravel()
    in_air = sample < _SPLIT_HU
    sides = (("air", sample[in_air], AIR_MODE_HU), ("soft tissue", sample[~in_air], TISSUE_MODE_HU))
    wrong = []
    for what, values, (low_hu, high_hu) in sides:
        if values.size < MIN_FRACTION * sample.size:
            wrong.append(f"hardly any {what}")
        elif not low_hu <= (mode_hu := _mode_hu(values)) <= high_hu:
            wrong.append(f"{what} peaks at {mode_hu} HU")
    if not wrong:
        return ()
    message = f"Hounsfield units look wrong: {', '.join(wrong)}; check the scanner's calibration and export"
    return (QualityFlag("LOW_HU_PLAUSIBILITY", message),)


def _mode_hu(values: HuArray) -> int:
    """The most frequent value, in bins of ``_BIN_HU``."""
    bins = np.rint(values / _BIN_HU).astype(np.intp)
    lowest = bins.min()
    return int(np.bincount(bins - lowest).argmax() + lowest) * _BIN_HU
