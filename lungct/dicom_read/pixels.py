"""Decode DICOM pixels on the CPU into Hounsfield units, slice by slice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, groupby
from math import prod
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder

from lungct.decoding import PLUGINS, DecodingError, EncodedFrame, StoredArray, decode_frames
from lungct.dicom_read.code_streams import read_code_stream
from lungct.dicom_read.files import DeflatedTooLargeError, read_dataset
from lungct.dicom_read.headers import DAMAGED, frame_group, integer, number, text, value_of
from lungct.dicom_read.privacy import printable
from lungct.dicom_read.stored_words import WordFormat, read_words
from lungct.errors import PixelDataError
from lungct.records import HuArray, QualityFlag, SliceHeader

AIR_HU = -1024
"""What stands where there is no measurement: padding and places outside every slice."""

TISSUE_HU = (-900, 3071)
"""A padding value in this range is a wrong header: what it would hide is tissue."""

_HOUNSFIELD_TYPES = re.compile(r"|HU|US|UNSPECIFIED|CTNUMBERS?|(HU)?HO?U?N[DT]?SFIE?I?E?LD(UNITS?)?(HU)?")
"""Letters of Rescale Type (0028,1054) that mean Hounsfield units, as people spell them."""

_DECODER_ATTRIBUTES = {
    "rows": "Rows",
    "columns": "Columns",
    "samples_per_pixel": "SamplesPerPixel",
    "planar_configuration": "PlanarConfiguration",
    "photometric_interpretation": "PhotometricInterpretation",
    "bits_allocated": "BitsAllocated",
    "bits_stored": "BitsStored",
    "pixel_representation": "PixelRepresentation",
}
"""What decoding needs to know, by pydicom's names."""

_AS_THEY_ARE: dict[str, Any] = {"view_only": True, "correct_unused_bits": False}
"""Neither copied nor cut to Bits Stored."""


@dataclass(frozen=True)
class _Coding:
    """How stored values of a slice become Hounsfield units.

    Attributes:
        place: of the slice among those that are read.
        padding: Pixel Padding Value and Range Limit, None where there is none.
        is_lossy: the code stream tells that it was compressed with loss.
    """

    place: int
    image: SliceHeader
    slope: float
    intercept: float
    padding: tuple[int, int] | None
    bits_stored: int
    is_signed: bool
    is_lossy: bool = False


def read_slices_hu(slices: Sequence[SliceHeader]) -> tuple[HuArray, tuple[QualityFlag, ...]]:
    """Decode slices of one size.

    Returns:
        ``[slices, rows, columns]`` in the given order, int16 where all Hounsfield units are whole and fit,
        else float32; pixel padding and all below -1024 HU reads as air. And flags of slices whose pixels are
        not what their header says.

    Raises:
        PixelDataError: a slice cannot be decoded, is constant, or does not tell its Hounsfield units.
    """
    volume_hu: HuArray | None = None
    odd_places: list[int] = []
    is_lossy = False
    for coding, stored in _stored_slices(slices):
        slice_hu, is_odd = _slice_hu(stored, coding)
        odd_places += [coding.place] * is_odd
        is_lossy |= coding.is_lossy
        if volume_hu is None:  # not before one is decoded: headers tell any size
            volume_hu = np.empty((len(slices), *slice_hu.shape), slice_hu.dtype)
        volume_hu = volume_hu.astype(np.promote_types(volume_hu.dtype, slice_hu.dtype), copy=False)
        volume_hu[coding.place] = slice_hu
    assert volume_hu is not None  # noqa: S101
    lossy_flags = _flag_loss(slices) if is_lossy else ()
    return volume_hu, (*_flag_odd_words([slices[place] for place in sorted(odd_places)]), *lossy_flags)


def _flag_loss(slices: Sequence[SliceHeader]) -> tuple[QualityFlag, ...]:
    """Flag compression with loss that no header admits."""
    if any(image.is_lossy for image in slices):
        return ()
    message = (
        "the pixels were compressed with loss, which the headers do not say; faint opacities may have changed"
    )
    return (QualityFlag("LOSSY_COMPRESSION", message),)


def _flag_odd_words(odd: Sequence[SliceHeader]) -> tuple[QualityFlag, ...]:
    if not odd:
        return ()
    message = (
        f"stored values of {len(odd)} images do not fit Bits Stored or Pixel Representation, first "
        f"{odd[0].name}; they were read as what gives plausible Hounsfield units"
    )
    return (QualityFlag("BITS_STORED_CONTRADICTED", message),)


def read_samples_hu(samples: Sequence[Sequence[SliceHeader]]) -> Iterator[tuple[int, int, HuArray]]:
    """Decode some slices of several series; those that :func:`read_slices_hu` would refuse are left out.

    Returns:
        For every slice the number of its series, its place in the sample, and ``[rows, columns]``.
    """
    for series, slices in enumerate(samples):
        for place, slice_hu in _sound_slices_hu(slices):
            yield series, place, slice_hu


def _sound_slices_hu(slices: Sequence[SliceHeader]) -> list[tuple[int, HuArray]]:
    try:
        return [(coding.place, _slice_hu(stored, coding)[0]) for coding, stored in _stored_slices(slices)]
    except PixelDataError:
        found = []
        for place, image in enumerate(slices):
            with suppress(PixelDataError):
                found += [(place, _slice_hu(stored, coding)[0]) for coding, stored in _stored_slices([image])]
        return found


def _stored_slices(slices: Sequence[SliceHeader]) -> Iterator[tuple[_Coding, StoredArray]]:
    """Yield stored values of every slice, file by file; neighbours of one kind are decoded together."""
    by_file = sorted(range(len(slices)), key=lambda place: (slices[place].path, place))
    read = chain.from_iterable(
        _read_file([(place, slices[place]) for place in places])
        for _, places in groupby(by_file, key=lambda place: slices[place].path)
    )
    for is_encoded, frames in groupby(read, key=lambda one: isinstance(one[1], EncodedFrame)):
        if is_encoded:
            yield from _decoded(cast(Iterator[tuple[_Coding, EncodedFrame]], frames))
        else:
            yield from cast(Iterator[tuple[_Coding, StoredArray]], frames)


def _decoded(frames: Iterator[tuple[_Coding, EncodedFrame]]) -> Iterator[tuple[_Coding, StoredArray]]:
    try:
        for coding, stored in decode_frames(frames):
            _require_greyscale(stored, coding.image)
            yield coding, stored
    except DecodingError as error:
        raise _undecodable(error.key.image) from error


def _read_file(images: list[tuple[int, SliceHeader]]) -> Iterator[tuple[_Coding, EncodedFrame | StoredArray]]:
    """Yield the frames of one file: compressed ones as they are, others as stored values."""
    dataset = _read(images[0][1])
    for place, image in images:
        coding = _coding(dataset, place, image)
        if _transfer_syntax(dataset, image) in PLUGINS:
            frame, is_lossy = _encoded_frame(dataset, image)
            yield replace(coding, is_lossy=is_lossy), frame
        else:
            yield coding, _native_frame(dataset, image)


def _coding(dataset: Dataset, place: int, image: SliceHeader) -> _Coding:
    slope, intercept = _rescale(dataset, image)
    return _Coding(
        place,
        image,
        slope,
        intercept,
        padding=_padding(dataset),
        bits_stored=integer(dataset, "BitsStored") or 0,
        is_signed=integer(dataset, "PixelRepresentation") == 1,
    )


def _slice_hu(stored: StoredArray, coding: _Coding) -> tuple[HuArray, bool]:
    """Return Hounsfield units, and whether the stored words contradict their header."""
    said = WordFormat(coding.bits_stored, coding.is_signed, coding.slope, coding.intercept)
    words, is_odd = read_words(stored, said)
    ends = int(words.min()), int(words.max())
    if ends[0] == ends[1]:
        message = f"{coding.image.name} has the same value in every pixel; export it again or remove it"
        raise PixelDataError(message, "CONSTANT_PIXELS")
    values = _rescaled(words, ends, coding.slope, coding.intercept)
    if coding.padding is not None:
        is_padding = _find_padding(words, coding.padding)
        values[is_padding & ((values < TISSUE_HU[0]) | (values > TISSUE_HU[1]))] = AIR_HU
    np.maximum(values, AIR_HU, out=values)
    return _as_int16_if_exact(values), is_odd


def _rescaled(
    stored: StoredArray, ends: tuple[int, int], slope: float, intercept: float
) -> npt.NDArray[np.integer | np.float32]:
    """Return Hounsfield units: whole numbers where slope and intercept are, of 16 bits where that is enough.

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


def _rescale(dataset: Dataset, image: SliceHeader) -> tuple[float, float]:
    """Return slope and intercept of the slice itself."""
    transform = frame_group(dataset, image.frame, "PixelValueTransformationSequence")
    slope, intercept = (
        number(transform, keyword) if keyword in transform else number(dataset, keyword)
        for keyword in ("RescaleSlope", "RescaleIntercept")
    )
    if slope is None or intercept is None:
        message = f"{image.name} lacks Rescale Slope or Intercept, so no Hounsfield units; export it again"
        raise PixelDataError(message, "RESCALE_MISSING")
    if slope == 0:
        message = f"{image.name} has Rescale Slope 0, so the same value everywhere; export it again"
        raise PixelDataError(message, "RESCALE_SLOPE_ZERO")
    rescale_type = text(transform, "RescaleType") or text(dataset, "RescaleType")
    if not _HOUNSFIELD_TYPES.fullmatch(re.sub(r"[^A-Z0-9]", "", rescale_type.upper())):
        message = f"{image.name} does not hold Hounsfield units by its Rescale Type; send the plain CT images"
        raise PixelDataError(message, "NOT_HOUNSFIELD")
    return slope, intercept


def _read(image: SliceHeader) -> Dataset:
    try:
        return read_dataset(image.path, with_pixels=True)
    except DeflatedTooLargeError as error:
        message = f"{image.name} inflates to more than its header can hold; send it uncompressed"
        raise PixelDataError(message, "DEFLATED_TOO_LARGE") from error
    except DAMAGED as error:
        raise PixelDataError(
            f"{image.name} can no longer be read; send it again", "UNREADABLE_FILE"
        ) from error


def _transfer_syntax(dataset: Dataset, image: SliceHeader) -> str:
    """Return the transfer syntax, which is one that can be read."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        message = f"{image.name} does not state its transfer syntax; export it again"
        raise PixelDataError(message, "TRANSFER_SYNTAX_MISSING")
    is_known = syntax.is_transfer_syntax and not syntax.is_private
    if not is_known or (syntax.is_encapsulated and syntax not in PLUGINS):
        encoding = printable(syntax.name)
        message = f"{image.name} is encoded as {encoding}, which is not supported; send it uncompressed"
        raise PixelDataError(message, "UNSUPPORTED_COMPRESSION")
    return str(syntax)


def _native_frame(dataset: Dataset, image: SliceHeader) -> StoredArray:
    """Return stored values ``[rows, columns]`` of an uncompressed frame, not to be written to."""
    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    try:
        pixels, _ = decoder.as_array(dataset, index=image.frame, raw=True, **_AS_THEY_ARE)
    except DAMAGED as error:
        raise _undecodable(image) from error
    if _excess_pixels(dataset) >= min(pixels.shape[:2]):
        message = f"{image.name} holds more pixels than its Rows and Columns tell; export it again"
        raise PixelDataError(message, "WRONG_SIZE")
    _require_greyscale(pixels, image)
    return pixels


def _encoded_frame(dataset: Dataset, image: SliceHeader) -> tuple[EncodedFrame, bool]:
    """Return a compressed frame, and whether it says that it was compressed with loss."""
    told = {name: value_of(dataset, keyword) for name, keyword in _DECODER_ATTRIBUTES.items()}
    n_frames = integer(dataset, "NumberOfFrames") or 1
    try:
        code_stream = get_frame(value_of(dataset, "PixelData"), image.frame, number_of_frames=n_frames)
    except DAMAGED as error:
        raise _undecodable(image) from error
    known = {name: value for name, value in told.items() if value is not None}
    said = read_code_stream(code_stream)
    if said and (said.rows, said.columns, said.n_components) != (image.rows, image.columns, 1):
        message = (
            f"{image.name}: its compressed image is of {said.rows} x {said.columns} pixels and "
            f"{said.n_components} values a pixel, not as the header says; export it again"
        )
        raise PixelDataError(message, "CODE_STREAM_CONTRADICTS")
    frame = EncodedFrame(code_stream, str(dataset.file_meta.TransferSyntaxUID), known)
    return frame, said is not None and said.is_lossy


def _undecodable(image: SliceHeader) -> PixelDataError:
    message = f"{image.name}: pixels cannot be decoded, the file may be incomplete; send it again"
    return PixelDataError(message, "UNDECODABLE")


def _require_greyscale(pixels: StoredArray, image: SliceHeader) -> None:
    if pixels.shape != (image.rows, image.columns):
        message = f"{image.name} does not decode to one grey value a pixel; send plain CT images"
        raise PixelDataError(message, "NOT_GREYSCALE")


def _excess_pixels(dataset: Dataset) -> int:
    """Count pixels beyond those of all frames; a few are padding, a row or a column of them a wrong size."""
    counts = ("NumberOfFrames", "Rows", "Columns", "SamplesPerPixel")
    told = prod(integer(dataset, keyword) or 1 for keyword in counts)
    held = 8 * len(value_of(dataset, "PixelData") or b"") // (integer(dataset, "BitsAllocated") or 8)
    return held - told


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    """Return the ends of the padding range (PS3.3 C.7.5.1.1.2), None where there is no such range."""
    value = value_of(dataset, "PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = value_of(dataset, "PixelPaddingRangeLimit")
    return value, limit if isinstance(limit, int) else value


def _find_padding(stored: StoredArray, padding: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Mark pixels in the padding range.

    Scanners write the padding value signed or unsigned whatever the pixels are, so it wraps to their type.
    """
    ends = np.array(padding).astype(stored.dtype)
    return np.asarray((stored >= ends.min()) & (stored <= ends.max()))
