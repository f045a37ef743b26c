"""From the selection to the chest that is analysed."""

from __future__ import annotations

from collections import Counter

from lungct.dicom_read.lying import flag_orientation
from lungct.dicom_read.scan import read_patient_study
from lungct.dicom_read.volume import read_volume
from lungct.errors import NoEligibleSeriesError
from lungct.records import Chest, Selection, Series
from lungct.records.orientation import to_canonical


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
        raise NoEligibleSeriesError(_why_none(selection), "NO_ELIGIBLE_SERIES")
    return selection.chosen


def _why_none(selection: Selection) -> str:
    counts = Counter(reason.code for verdict in selection.verdicts for reason in verdict.reasons)
    reasons = ", ".join(f"{count} {code}" for code, count in counts.most_common())
    return (
        f"none of {len(selection.verdicts)} series may be analysed ({reasons}); "
        "send an axial chest CT within the limits of the settings"
    )
