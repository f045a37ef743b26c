"""From the selection to the chest that is analysed."""

from __future__ import annotations

from collections import Counter

from lungct.dicom_read.lying import flag_orientation
from lungct.dicom_read.scan import read_patient_study
from lungct.dicom_read.volume import read_volume
from lungct.errors import NoEligibleSeriesError
from lungct.records import Chest, Selection, Series
from lungct.records.orientation import to_canonical

MANY_SINGLE_IMAGES = 20
"""Own decision: a study has fewer series that are one image, such as localizers and overviews."""


def read_chest(selection: Selection) -> Chest:
    """Read the chosen series and what the report says about its patient.

    Raises:
        NoEligibleSeriesError: no series was chosen.
        GeometryError: the slices form no volume.
        PixelDataError: a slice cannot be decoded or does not hold Hounsfield units.
    """
    series = require_chosen(selection)
    source = read_volume(series)
    volume = to_canonical(source)
    volume = volume.with_flags(*flag_orientation(volume))
    return Chest(selection, read_patient_study(series), source, volume)


def require_chosen(selection: Selection) -> Series:
    """Return the chosen series.

    Raises:
        NoEligibleSeriesError: no series was chosen; the message counts the reasons.
    """
    if selection.chosen is None:
        if (n_single := _count_single_images(selection)) >= MANY_SINGLE_IMAGES:
            raise NoEligibleSeriesError(
                f"each of {n_single} images has a Series Instance UID of its own, so nothing tells which "
                "belong together; anonymise and export the study again with one UID for each series",
                "SERIES_UID_PER_IMAGE",
            )
        raise NoEligibleSeriesError(_why_none(selection), "NO_ELIGIBLE_SERIES")
    return selection.chosen


def _count_single_images(selection: Selection) -> int:
    """Count series of one image that would be CT slices but for their number."""
    return sum(
        len(verdict.series.slices) == 1
        and verdict.series.modality == "CT"
        and "TOO_FEW_SLICES" in {reason.code for reason in verdict.reasons}
        for verdict in selection.verdicts
    )


def _why_none(selection: Selection) -> str:
    counts = Counter(reason.code for verdict in selection.verdicts for reason in verdict.reasons)
    reasons = ", ".join(f"{count} {code}" for code, count in counts.most_common())
    return (
        f"none of {len(selection.verdicts)} series may be analysed ({reasons}); "
        "send an axial chest CT within the limits of the settings"
    )
