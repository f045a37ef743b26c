"""The source images as highdicom wants to see them: only what it refers to, with values it accepts.

Headers from hospitals hold values that highdicom refuses (a sex of ``X``, orientations that differ in the
seventh decimal). Geometry was checked when the series was read, so it comes from the records.
"""

from __future__ import annotations

from itertools import groupby

import numpy as np
from pydicom import Dataset
from pydicom.uid import CTImageStorage

from lungct.dicom_write.common import TYPE_2_KEYWORDS, Origin
from lungct.records import Chest, Series, SliceHeader

_COPIED = ("PositionReferenceIndicator", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


def source_images(chest: Chest, series: Series, origin: Origin) -> list[Dataset]:
    """One data set a file of the source, in the order of its slices where the volume is as stored.

    Args:
        chest: the analysed volume.
        series: its series.
        origin: where study, frame of reference and identity come from.

    Returns:
        Single-frame images, or multi-frame images with their frames in the order of the file.
    """
    images = chest.source.images or series.slices
    if all(image.sop_class_uid == CTImageStorage for image in images):
        return [_single_frame(image, chest, series, origin) for image in images]
    by_file = sorted(series.slices, key=lambda image: (image.sop_instance_uid, image.frame))
    return [
        _multi_frame(list(frames), chest, series, origin)
        for _, frames in groupby(by_file, key=lambda image: image.sop_instance_uid)
    ]


def _single_frame(image: SliceHeader, chest: Chest, series: Series, origin: Origin) -> Dataset:
    dataset = _common(image, series, origin)
    dataset.ImagePositionPatient = _decimal(image.position_mm)
    dataset.ImageOrientationPatient = _decimal(series.slices[0].orientation)
    for keyword, value in _measures(chest, series).items():
        setattr(dataset, keyword, value)
    return dataset


def _multi_frame(frames: list[SliceHeader], chest: Chest, series: Series, origin: Origin) -> Dataset:
    dataset = _common(frames[0], series, origin)
    dataset.NumberOfFrames = len(frames)
    shared = Dataset()
    shared.PixelMeasuresSequence = [_with(**_measures(chest, series))]
    shared.PlaneOrientationSequence = [_with(ImageOrientationPatient=_decimal(series.slices[0].orientation))]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [
        _with(PlanePositionSequence=[_with(ImagePositionPatient=_decimal(frame.position_mm))])
        for frame in frames
    ]
    return dataset


def _common(image: SliceHeader, series: Series, origin: Origin) -> Dataset:
    dataset = _with(
        SOPClassUID=image.sop_class_uid,
        SOPInstanceUID=image.sop_instance_uid,
        StudyInstanceUID=series.study_uid,
        SeriesInstanceUID=series.series_uid,
        FrameOfReferenceUID=series.frame_of_reference_uid or origin.uid("frame of reference"),
        Modality="CT",
        Rows=image.rows,
        Columns=image.columns,
        LossyImageCompression="01" if image.is_lossy else "00",
        **dict.fromkeys(TYPE_2_KEYWORDS, ""),
    )
    for keyword in (
        "PositionReferenceIndicator",
        "LossyImageCompressionRatio",
        "LossyImageCompressionMethod",
    ):
        if keyword in origin.header:
            dataset[keyword] = origin.header[keyword]
    return dataset


def _measures(chest: Chest, series: Series) -> dict[str, object]:
    slice_mm, _, _ = chest.source.spacing_mm
    return {
        "PixelSpacing": _decimal(series.slices[0].pixel_spacing_mm),
        "SliceThickness": _decimal((series.slice_thickness_mm or slice_mm,))[0],
        "SpacingBetweenSlices": _decimal((slice_mm,))[0],
    }


def _decimal(values: tuple[float, ...] | None) -> list[str]:
    """Decimal strings of at most 16 characters (PS3.5 6.2)."""
    return [np.format_float_positional(value, precision=10, trim="-")[:16] for value in values or ()]


def _with(**attributes: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset
