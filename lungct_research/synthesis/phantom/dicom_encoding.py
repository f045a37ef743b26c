"""Encodes the pixels of a native data set and saves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate

from lungct_research.synthesis.phantom.study_options import Syntax

_UIDS = {
    Syntax.IMPLICIT: uid.ImplicitVRLittleEndian,
    Syntax.EXPLICIT: uid.ExplicitVRLittleEndian,
    Syntax.BIG_ENDIAN: uid.ExplicitVRBigEndian,
    Syntax.DEFLATED: uid.DeflatedExplicitVRLittleEndian,
    Syntax.RLE: uid.RLELossless,
    Syntax.JPEG_LOSSLESS: uid.JPEGLossless,
    Syntax.JPEG_LOSSLESS_SV1: uid.JPEGLosslessSV1,
    Syntax.JPEG_LS: uid.JPEGLSLossless,
    Syntax.JPEG_2000: uid.JPEG2000Lossless,
}


def save(dataset: Dataset, path: Path, syntax: Syntax) -> None:
    """Write a data set whose Pixel Data is native little endian in another transfer syntax.

    Raises:
        ValueError: GDCM, which alone encodes JPEG Lossless, is not installed.
    """
    syntax_uid = _UIDS[syntax]
    if syntax in (Syntax.JPEG_LOSSLESS, Syntax.JPEG_LOSSLESS_SV1):
        _compress_jpeg_lossless(dataset, syntax_uid)
    elif syntax_uid.is_encapsulated:
        dataset.compress(syntax_uid, generate_instance_uid=False)
    elif not syntax_uid.is_little_endian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax_uid
    dataset.save_as(path, enforce_file_format=True)


def _compress_jpeg_lossless(dataset: Dataset, syntax_uid: uid.UID) -> None:
    frame_bytes = dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
    pixels = dataset.PixelData
    frames = [pixels[start : start + frame_bytes] for start in range(0, len(pixels), frame_bytes)]
    dataset.PixelData = encapsulate([_jpeg_lossless_frame(frame, dataset, syntax_uid) for frame in frames])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True


def _jpeg_lossless_frame(pixels: bytes, dataset: Dataset, syntax_uid: uid.UID) -> bytes:
    """Return one frame encoded by GDCM, which knows processes 14 and 14 SV1."""
    try:
        import gdcm
    except ImportError as error:
        raise ValueError("JPEG Lossless needs python-gdcm; choose another transfer syntax") from error
    change = gdcm.ImageChangeTransferSyntax()
    change.SetInput(_gdcm_image(gdcm, pixels, dataset))
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax_uid))))
    if not change.Change():
        raise ValueError(f"GDCM cannot encode {dataset.BitsStored}-bit pixels as {syntax_uid.name}")
    fragments = change.GetOutput().GetDataElement().GetSequenceOfFragments()
    encoded: str = fragments.GetFragment(0).GetByteValue().GetBuffer()
    return encoded.encode("utf-8", "surrogateescape")


def _gdcm_image(gdcm: Any, pixels: bytes, dataset: Dataset) -> Any:
    """Return a native image for a GDCM filter, which frees it: Python must not free it a second time."""
    image = gdcm.Image()
    image.thisown = False
    image.SetNumberOfDimensions(2)
    image.SetDimensions((dataset.Columns, dataset.Rows, 1))
    monochrome = gdcm.PhotometricInterpretation.MONOCHROME2
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(monochrome))
    bits = dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit
    image.SetPixelFormat(gdcm.PixelFormat(1, *bits, dataset.PixelRepresentation))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.ExplicitVRLittleEndian))
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetByteStringValue(pixels)
    image.SetDataElement(element)
    return image
