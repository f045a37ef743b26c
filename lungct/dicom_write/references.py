"""The source images as highdicom needs them: only what it refers to, with values it accepts.

Headers from hospitals hold values that highdicom refuses (a sex of ``X``, orientations that differ in the
seventh decimal). Geometry was checked when the series was read, so it comes from the records.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import numpy as np
from highdicom import UID
from highdicom.seg import Segmentation
from pydicom import Dataset
from pydicom.uid import CTImageStorage

from lungct.dicom_write.origin import TYPE_2_KEYWORDS, Origin, valid_uid
from lungct.records import Chest, Series, SliceHeader


def list_source_images(chest: Chest, origin: Origin) -> list[Dataset]:
    """Return a data set for each file of the source: multi-frame images first, others in order of slices."""
    series = chest.selection.analysed
    if not can_refer_to(chest):
        series, chest = _with_own_uids(series, chest, origin)
    in_order = chest.source.images or series.slices
    single = {image.sop_instance_uid: image for image in in_order if image.sop_class_uid == CTImageStorage}
    frames = {
        (image.sop_instance_uid, image.frame): image
        for image in series.slices
        if image.sop_class_uid != CTImageStorage
    }
    by_file = groupby(sorted(frames), key=lambda place: place[0])
    return [
        *(_multi_frame([frames[place] for place in places], chest, series, origin) for _, places in by_file),
        *(_single_frame(image, chest, series, origin) for image in single.values()),
    ]


def can_refer_to(chest: Chest) -> bool:
    """Tell whether each UID of the analysed series leads to one image, so that results may refer to it."""
    series = chest.selection.analysed
    positions: dict[tuple[str, int], tuple[float, float, float] | None] = {}
    for image in series.slices:
        place = image.sop_instance_uid, image.frame
        is_doubled = positions.setdefault(place, image.position_mm) != image.position_mm
        if is_doubled or not UID(image.sop_instance_uid).is_valid:
            return False
    return series.has_own_identifiers


def drop_references(segmentation: Segmentation) -> None:
    """Remove what refers to images that no archive would find; the frames keep their place in the patient."""
    for keyword in ("ReferencedSeriesSequence", "SourceImageSequence"):
        segmentation.pop(keyword, None)
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        frame.pop("DerivationImageSequence", None)


def _with_own_uids(series: Series, chest: Chest, origin: Origin) -> tuple[Series, Chest]:
    """Return both with a UID of ours for each file: highdicom wants one to build an object."""

    def rename(image: SliceHeader) -> SliceHeader:
        return replace(image, sop_instance_uid=origin.uid("source", image.path))

    renamed = replace(series, slices=tuple(map(rename, series.slices)))
    source = replace(chest.source, images=tuple(map(rename, chest.source.images)))
    return renamed, replace(chest, source=source)


def make_reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Return an item that refers to an object."""
    return _with(ReferencedSOPClassUID=sop_class_uid, ReferencedSOPInstanceUID=sop_instance_uid)


def _single_frame(image: SliceHeader, chest: Chest, series: Series, origin: Origin) -> Dataset:
    return _with(
        _common(image, series, origin),
        ImagePositionPatient=_decimal(image.position_mm),
        ImageOrientationPatient=_decimal(series.slices[0].orientation),
        **_measures(chest, series),
    )


def _multi_frame(frames: list[SliceHeader], chest: Chest, series: Series, origin: Origin) -> Dataset:
    orientation = _decimal(series.slices[0].orientation)
    shared = _with(
        PixelMeasuresSequence=[_with(**_measures(chest, series))],
        PlaneOrientationSequence=[_with(ImageOrientationPatient=orientation)],
    )
    places = [
        _with(PlanePositionSequence=[_with(ImagePositionPatient=_decimal(frame.position_mm))])
        for frame in frames
    ]
    return _with(
        _common(frames[0], series, origin),
        NumberOfFrames=len(frames),
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=places,
    )


def _common(image: SliceHeader, series: Series, origin: Origin) -> Dataset:
    frame_uid = series.frame_of_reference_uid
    dataset = _with(
        SOPClassUID=image.sop_class_uid,
        SOPInstanceUID=image.sop_instance_uid,
        StudyInstanceUID=origin.study_uid,
        SeriesInstanceUID=valid_uid(series.series_uid),
        FrameOfReferenceUID=valid_uid(frame_uid) if frame_uid else origin.uid("frame of reference"),
        Modality="CT",
        Rows=image.rows,
        Columns=image.columns,
        LossyImageCompression="01" if image.is_lossy else "00",
        **dict.fromkeys(TYPE_2_KEYWORDS, ""),
    )
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if image.is_lossy and keyword in origin.header:
            dataset[keyword] = origin.header[keyword]
    return dataset


def _measures(chest: Chest, series: Series) -> dict[str, object]:
    slice_mm, _, _ = chest.source.spacing_mm
    thickness_mm = series.slice_thickness_mm or 0.0
    return {
        "PixelSpacing": _decimal(series.slices[0].pixel_spacing_mm),
        "SliceThickness": _decimal((thickness_mm if thickness_mm > 0 else slice_mm,))[0],
        "SpacingBetweenSlices": _decimal((slice_mm,))[0],
    }


def _decimal(values: tuple[float, ...] | None) -> list[str]:
    """Return decimal strings of at most 16 characters (PS3.5 6.2)."""
    return [np.format_float_positional(value, precision=10, trim="-")[:16] for value in values or ()]


def _with(base: Dataset | None = None, /, **attributes: object) -> Dataset:
    dataset = Dataset() if base is None else base
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset
