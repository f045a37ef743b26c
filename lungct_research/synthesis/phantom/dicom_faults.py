"""Faults that real studies have, put into a well-formed series on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.uid import generate_uid

from lungct_research.synthesis.phantom.study_options import Fault

_GAP_MM = 100.0
_CORONAL = [1, 0, 0, 0, 0, -1]
_FILE_FAULTS: dict[Fault, Callable[[bytes], bytes]] = {
    Fault.TRUNCATED_FILE: lambda content: content[: len(content) * 3 // 4],
    Fault.ZERO_BYTE_FILE: lambda _: b"",
    Fault.TEXT_FILE: lambda _: b"This is a text, whatever the file is called.\n" * 40,
}


def break_datasets(datasets: list[Dataset], faults: Sequence[Fault]) -> list[Dataset]:
    """Put the faults that concern data sets into a series, in the given order.

    Raises:
        ValueError: a fault of slices is asked of a multi-frame image.
    """
    asked = [fault for fault in faults if fault not in _FILE_FAULTS]
    if asked and len(datasets) < 3:
        raise ValueError("faults need at least three single-frame slices")
    for fault in asked:
        datasets = _break_series(datasets, fault)
    return datasets


def break_files(paths: Sequence[Path], faults: Sequence[Fault]) -> None:
    """Damage the file in the middle of the series."""
    victim = paths[len(paths) // 2]
    for fault in faults:
        if fault in _FILE_FAULTS:
            victim.write_bytes(_FILE_FAULTS[fault](victim.read_bytes()))


def _break_series(datasets: list[Dataset], fault: Fault) -> list[Dataset]:
    middle = len(datasets) // 2
    victim = datasets[middle]
    match fault:
        case Fault.DUPLICATE_SLICE:
            return [*datasets, _copy(victim)]
        case Fault.SECOND_PHASE_SLICE:
            return [*datasets, _copy(victim, PixelData=datasets[middle - 1].PixelData)]
        case Fault.MISSING_SLICE:
            return datasets[:middle] + datasets[middle + 1 :]
        case Fault.LOCALIZER_INSIDE:
            image_type = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
            return [_copy(victim, ImageType=image_type, ImageOrientationPatient=_CORONAL), *datasets]
        case Fault.WIDE_GAP:
            step = _step(datasets[0], datasets[1])
            for dataset in datasets[middle:]:
                _move(dataset, _GAP_MM * (step / np.linalg.norm(step)))
        case Fault.UNEVEN_SPACING:
            _move(victim, _step(victim, datasets[middle + 1]) / 3)
        case Fault.HU_OFFSET:
            for dataset in datasets:
                dataset.RescaleIntercept = float(dataset.RescaleIntercept) + 1024
        case _:
            _break_slice(victim, fault)
    return datasets


def _break_slice(dataset: Dataset, fault: Fault) -> None:
    match fault:
        case Fault.MIXED_ORIENTATIONS:
            dataset.ImageOrientationPatient = _CORONAL
        case Fault.MIXED_SIZES:
            dataset.Rows //= 2
            dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]
        case Fault.MIXED_PIXEL_SPACINGS:
            dataset.PixelSpacing = [2 * value for value in dataset.PixelSpacing]
        case Fault.MISSING_RESCALE:
            del dataset.RescaleSlope, dataset.RescaleIntercept
        case Fault.MISSING_POSITION:
            del dataset.ImagePositionPatient
        case Fault.CONSTANT_PIXELS:
            dataset.PixelData = bytes(len(dataset.PixelData))


def _copy(dataset: Dataset, **changed: Any) -> Dataset:
    """Return the image as another instance, with some attributes changed."""
    copy = deepcopy(dataset)
    copy.SOPInstanceUID = generate_uid(entropy_srcs=[dataset.SOPInstanceUID, "copy"])
    copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
    for keyword, value in changed.items():
        setattr(copy, keyword, value)
    return copy


def _step(first: Dataset, second: Dataset) -> npt.NDArray[np.float64]:
    """Return the way from one slice to another in mm."""
    start, end = np.array([each.ImagePositionPatient for each in (first, second)], dtype=float)
    return np.asarray(end - start)


def _move(dataset: Dataset, by_mm: npt.NDArray[np.float64]) -> None:
    position = np.array(dataset.ImagePositionPatient, dtype=float) + by_mm
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]
