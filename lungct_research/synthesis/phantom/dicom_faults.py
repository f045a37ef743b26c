"""Faults that real studies have, put into a well-formed series on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.uid import generate_uid

from lungct_research.synthesis.phantom.study_options import Fault

Datasets = list[Dataset]


def break_datasets(datasets: Datasets, faults: Sequence[Fault]) -> Datasets:
    """Apply the faults of data sets, in the given order.

    Raises:
        ValueError: a fault of slices is asked of a multi-frame image.
    """
    if len(datasets) < 3 and any(fault in _DATASET_FAULTS for fault in faults):
        raise ValueError("faults need at least three single-frame slices")
    for fault in faults:
        if fault in _DATASET_FAULTS:
            datasets = _DATASET_FAULTS[fault](datasets, len(datasets) // 2)
    return datasets


def break_files(paths: Sequence[Path], faults: Sequence[Fault]) -> None:
    """Damage the file in the middle of the series."""
    victim = paths[len(paths) // 2]
    for fault in faults:
        if fault in _FILE_FAULTS:
            victim.write_bytes(_FILE_FAULTS[fault](victim.read_bytes()))


def _copy(dataset: Dataset) -> Dataset:
    """The same image as another instance."""
    copy = deepcopy(dataset)
    copy.SOPInstanceUID = generate_uid(entropy_srcs=[dataset.SOPInstanceUID, "copy"])
    copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
    return copy


def _duplicate(datasets: Datasets, victim: int) -> Datasets:
    return [*datasets, _copy(datasets[victim])]


def _second_phase(datasets: Datasets, victim: int) -> Datasets:
    second = _copy(datasets[victim])
    second.PixelData = datasets[victim - 1].PixelData
    return [*datasets, second]


def _missing(datasets: Datasets, victim: int) -> Datasets:
    return datasets[:victim] + datasets[victim + 1 :]


def _wide_gap(datasets: Datasets, victim: int) -> Datasets:
    """Move one end of the series a hand's breadth away."""
    first, second = np.array([datasets[i].ImagePositionPatient for i in (0, 1)], dtype=float)
    step = (second - first) / np.linalg.norm(second - first)
    for dataset in datasets[victim:]:
        _move(dataset, 100 * step)
    return datasets


def _uneven(datasets: Datasets, victim: int) -> Datasets:
    """Move one slice a third of the way to the next."""
    positions = np.array([datasets[i].ImagePositionPatient for i in (victim, victim + 1)], dtype=float)
    _move(datasets[victim], (positions[1] - positions[0]) / 3)
    return datasets


def _move(dataset: Dataset, by_mm: np.ndarray) -> None:
    position = np.array(dataset.ImagePositionPatient, dtype=float) + by_mm
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]


def _mixed_orientation(datasets: Datasets, victim: int) -> Datasets:
    datasets[victim].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    return datasets


def _mixed_size(datasets: Datasets, victim: int) -> Datasets:
    dataset = datasets[victim]
    dataset.Rows //= 2
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]
    return datasets


def _mixed_pixel_spacing(datasets: Datasets, victim: int) -> Datasets:
    datasets[victim].PixelSpacing = [2 * value for value in datasets[victim].PixelSpacing]
    return datasets


def _missing_rescale(datasets: Datasets, victim: int) -> Datasets:
    del datasets[victim].RescaleSlope, datasets[victim].RescaleIntercept
    return datasets


def _localizer_inside(datasets: Datasets, victim: int) -> Datasets:
    localizer = _copy(datasets[victim])
    localizer.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    localizer.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    return [localizer, *datasets]


def _missing_position(datasets: Datasets, victim: int) -> Datasets:
    del datasets[victim].ImagePositionPatient
    return datasets


def _constant(datasets: Datasets, victim: int) -> Datasets:
    datasets[victim].PixelData = bytes(len(datasets[victim].PixelData))
    return datasets


def _hu_offset(datasets: Datasets, victim: int) -> Datasets:  # noqa: ARG001 - every slice is off
    for dataset in datasets:
        dataset.RescaleIntercept = float(dataset.RescaleIntercept) + 1024
    return datasets


_DATASET_FAULTS: dict[Fault, Callable[[Datasets, int], Datasets]] = {
    Fault.DUPLICATE_SLICE: _duplicate,
    Fault.SECOND_PHASE_SLICE: _second_phase,
    Fault.MISSING_SLICE: _missing,
    Fault.WIDE_GAP: _wide_gap,
    Fault.UNEVEN_SPACING: _uneven,
    Fault.MIXED_ORIENTATIONS: _mixed_orientation,
    Fault.MIXED_SIZES: _mixed_size,
    Fault.MIXED_PIXEL_SPACINGS: _mixed_pixel_spacing,
    Fault.MISSING_RESCALE: _missing_rescale,
    Fault.LOCALIZER_INSIDE: _localizer_inside,
    Fault.MISSING_POSITION: _missing_position,
    Fault.CONSTANT_PIXELS: _constant,
    Fault.HU_OFFSET: _hu_offset,
}
_FILE_FAULTS: dict[Fault, Callable[[bytes], bytes]] = {
    Fault.TRUNCATED_FILE: lambda content: content[: len(content) * 3 // 4],
    Fault.ZERO_BYTE_FILE: lambda _: b"",
    Fault.TEXT_FILE: lambda _: b"This is a text, whatever the file is called.\n" * 40,
}
