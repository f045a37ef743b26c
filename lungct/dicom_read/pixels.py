"""Decode DICOM pixels on the CPU into Hounsfield units, slice by slice."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from math import prod
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from lungct.dicom_read.decoding import PLUGINS, Decoder, DecodingError, StoredArray
from lungct.dicom_read.files import read_file
from lungct.dicom_read.headers import (
    DAMAGED,
    Header,
    frame_group,
    integer,
    number,
    text,
    value_of,
)
from lungct.dicom_read.privacy import printable
from lungct.errors import PixelDataError
from lungct.records import HuArray, SliceHeader

AIR_HU = -1024
"""What stands where there is no measurement: padding and places outside every slice."""

TISSUE_HU = (-900, 3071)
"""A padding value in this range is a wrong header: what it would hide is tissue."""

MOST_THREADS = 4
"""Each has a process that decodes, of some 80 MB."""

_HOUNSFIELD_TYPES = ("", "HU", "US")


def read_slices_hu(slices: Sequence[SliceHeader]) -> HuArray:
    """Decode slices of one size.

    Returns:
        ``[slices, rows, columns]`` in the given order, int16 where all Hounsfield units are whole and fit,
        else float32. Pixel padding reads as air.

    Raises:
        PixelDataError: a slice cannot be decoded, is constant, or does not tell its Hounsfield units.
    """
    volume_hu: HuArray | None = None
    for place, slice_hu in _decoded(slices):
        if volume_hu is None:  # not before one is decoded: headers tell any size
            volume_hu = np.empty((len(slices), *slice_hu.shape), slice_hu.dtype)
        volume_hu = volume_hu.astype(np.promote_types(volume_hu.dtype, slice_hu.dtype), copy=False)
        volume_hu[place] = slice_hu
    assert volume_hu is not None  # noqa: S101
    return volume_hu


def _decoded(slices: Sequence[SliceHeader]) -> Iterator[tuple[int, HuArray]]:
    """Hounsfield units of every slice and its place, file by file, some files at a time."""
    places: dict[Path, list[int]] = defaultdict(list)
    for place, image in enumerate(slices):
        places[image.path].append(place)

    def of_file(in_file: list[int]) -> Iterator[tuple[int, HuArray]]:
        dataset = _read(slices[in_file[0]])
        for place in in_file:
            yield place, _slice_hu(dataset, slices[place], decoder)

    n_threads = min(os.cpu_count() or 1, MOST_THREADS)
    with closing(Decoder()) as decoder, ThreadPoolExecutor(n_threads) as pool:
        decoded: Iterable[Iterable[tuple[int, HuArray]]] = map(of_file, places.values())
        if len(places) > 1 and _is_compressed(slices[0]):  # else threads wait for each other
            decoded = pool.map(lambda in_file: list(of_file(in_file)), places.values())
        yield from chain.from_iterable(decoded)


def _is_compressed(image: SliceHeader) -> bool:
    return _read(image, with_pixels=False).file_meta.get("TransferSyntaxUID") in PLUGINS


def _slice_hu(dataset: Header, image: SliceHeader, decoder: Decoder) -> HuArray:
    slope, intercept = _rescale(dataset, image)
    stored = _decode(dataset, image, decoder)
    ends = int(stored.min()), int(stored.max())
    if ends[0] == ends[1]:
        message = f"{image.name} has the same value in every pixel; export it again or remove it"
        raise PixelDataError(message, "CONSTANT_PIXELS")
    values = _rescaled(stored, ends, slope, intercept)
    if (padding := _padding(dataset, stored)) is not None:
        values[padding & ((values < TISSUE_HU[0]) | (values > TISSUE_HU[1]))] = AIR_HU
    return _as_int16_if_exact(values)


def _rescaled(
    stored: StoredArray, ends: tuple[int, int], slope: float, intercept: float
) -> npt.NDArray[np.integer | np.float32]:
    """Hounsfield units, whole where slope and intercept are; of 16 bits where no step needs more.

    Args:
        stored: pixels.
        ends: the lowest and the highest of them.
        slope: of the slice.
        intercept: of the slice, HU.
    """
    if not (slope.is_integer() and intercept.is_integer()):
        return (stored * slope + intercept).astype(np.float32)
    scale, shift = int(slope), int(intercept)
    steps = (*ends, scale, shift, *(end * scale for end in ends), *(end * scale + shift for end in ends))
    dtype = np.int16 if _fit_16_bits(min(steps), max(steps)) else np.int32
    whole: npt.NDArray[np.integer] = stored.astype(dtype)
    np.add(np.multiply(whole, scale, out=whole), shift, out=whole)
    return whole


def _as_int16_if_exact(values: npt.NDArray[np.integer | np.float32]) -> HuArray:
    if values.dtype != np.int32:
        return cast(HuArray, values)
    if _fit_16_bits(int(values.min()), int(values.max())):
        return values.astype(np.int16)
    return values.astype(np.float32)


def _fit_16_bits(lowest: int, highest: int) -> bool:
    limits = np.iinfo(np.int16)
    return bool(limits.min <= lowest and highest <= limits.max)


def _rescale(dataset: Header, image: SliceHeader) -> tuple[float, float]:
    """Slope and intercept of the slice itself."""
    transform = frame_group(dataset, image.frame, "PixelValueTransformationSequence")
    slope, intercept = number(transform, "RescaleSlope"), number(transform, "RescaleIntercept")
    if slope is None or intercept is None:
        message = f"{image.name} lacks Rescale Slope or Intercept, so no Hounsfield units; export it again"
        raise PixelDataError(message, "RESCALE_MISSING")
    if text(transform, "RescaleType").upper() not in _HOUNSFIELD_TYPES:
        message = f"{image.name} does not hold Hounsfield units by its Rescale Type; send the plain CT images"
        raise PixelDataError(message, "NOT_HOUNSFIELD")
    return slope, intercept


def _read(image: SliceHeader, *, with_pixels: bool = True) -> Header:
    try:
        return read_file(image.path, with_pixels=with_pixels)
    except DAMAGED as error:
        raise PixelDataError(
            f"{image.name} can no longer be read; send it again", "UNREADABLE_FILE"
        ) from error


def _decode(dataset: Header, image: SliceHeader, decoder: Decoder) -> StoredArray:
    """Stored values ``[rows, columns]`` of one frame."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        message = f"{image.name} does not state its transfer syntax; export it again"
        raise PixelDataError(message, "TRANSFER_SYNTAX_MISSING")
    is_known = syntax.is_transfer_syntax and not syntax.is_private
    if not is_known or (syntax.is_encapsulated and syntax not in PLUGINS):
        encoding = printable(syntax.name)
        message = f"{image.name} is encoded as {encoding}, which is not supported; send it uncompressed"
        raise PixelDataError(message, "UNSUPPORTED_COMPRESSION")
    try:
        pixels = decoder.stored_values(dataset, image)
    except DecodingError as error:
        message = f"{image.name}: pixels cannot be decoded, the file may be incomplete; send it again"
        raise PixelDataError(message, "UNDECODABLE") from error
    if not syntax.is_encapsulated and _excess_pixels(dataset) >= min(pixels.shape[:2]):
        message = f"{image.name} holds more pixels than its Rows and Columns tell; export it again"
        raise PixelDataError(message, "WRONG_SIZE")
    if pixels.shape != (image.rows, image.columns):
        message = f"{image.name} does not decode to one grey value a pixel; send plain CT images"
        raise PixelDataError(message, "NOT_GREYSCALE")
    return pixels


def _excess_pixels(dataset: Header) -> int:
    """Pixels beyond those of all frames; a few are padding, a row or a column of them a wrong size."""
    counts = ("NumberOfFrames", "Rows", "Columns", "SamplesPerPixel")
    told = prod(integer(dataset, keyword) or 1 for keyword in counts)
    held = 8 * len(value_of(dataset, "PixelData") or b"") // (integer(dataset, "BitsAllocated") or 8)
    return held - told


def _padding(dataset: Header, stored: StoredArray) -> npt.NDArray[np.bool_] | None:
    """Pixels in the padding range (PS3.3 C.7.5.1.1.2), None where there is no such range.

    Scanners write the padding value signed or unsigned whatever the pixels are, so it wraps to their type.
    """
    value = value_of(dataset, "PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = value_of(dataset, "PixelPaddingRangeLimit")
    ends = np.array([value, limit if isinstance(limit, int) else value]).astype(stored.dtype)
    return np.asarray((stored >= ends.min()) & (stored <= ends.max()))
