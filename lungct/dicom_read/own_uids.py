"""Replace UIDs that are missing, are none, or name several images, by ones made from the headers."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from pydicom.uid import generate_uid

from lungct.records import QualityFlag, Series, SliceHeader

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_MESSAGE = (
    "UIDs of study, series or images are missing, not valid or not unique; others, made from the headers, "
    "stand in, and the results do not refer to the stored images"
)
_LONGEST_UID = 64
"""PS3.5 9.1. Components with leading zeros are not allowed there, but archives hold and refer to them."""


def with_valid_uids(series: Series) -> Series:
    """Return the series with a UID of its own for study, series and every file, and a flag where any is new.

    The same headers always get the same UIDs. Copies of an image at one position keep their common UID.
    """
    study_uid = series.study_uid if _is_uid(series.study_uid) else _new_uid("study", series.study_uid)
    series_uid = series.series_uid
    if not _is_uid(series_uid):
        series_uid = _new_uid("series", series.study_uid, series_uid, series.series_number)
    new_uids = _new_image_uids(series, series_uid)
    is_sound = (study_uid, series_uid) == (series.study_uid, series.series_uid) and not new_uids
    frame_of_reference_uid = series.frame_of_reference_uid if _is_uid(series.frame_of_reference_uid) else ""
    if is_sound:
        return replace(series, frame_of_reference_uid=frame_of_reference_uid)
    return replace(
        series,
        study_uid=study_uid,
        series_uid=series_uid,
        slices=tuple(_with_uid(image, new_uids) for image in series.slices),
        frame_of_reference_uid=frame_of_reference_uid,
        has_own_identifiers=False,
        flags=(*series.flags, QualityFlag("UIDS_REPLACED", _MESSAGE)),
    )


def _new_image_uids(series: Series, series_uid: str) -> dict[Path, str]:
    """Return new UIDs for the files that need one: theirs is none, or that of another image too."""
    first_images = {image.path: image for image in reversed(series.slices)}
    places: dict[str, set[object]] = defaultdict(set)
    for path, image in first_images.items():
        places[image.sop_instance_uid].add(image.position_mm or path)
    return {
        path: _new_uid("image", series_uid, image.instance_number, image.position_mm, number)
        for number, (path, image) in enumerate(reversed(first_images.items()))
        if not _is_uid(image.sop_instance_uid) or len(places[image.sop_instance_uid]) > 1
    }


def _with_uid(image: SliceHeader, new_uids: dict[Path, str]) -> SliceHeader:
    return replace(image, sop_instance_uid=new_uids.get(image.path, image.sop_instance_uid))


def _is_uid(value: str) -> bool:
    return len(value) <= _LONGEST_UID and _UID.fullmatch(value) is not None


def _new_uid(*content: object) -> str:
    return str(generate_uid(entropy_srcs=[str(part) for part in content]))
