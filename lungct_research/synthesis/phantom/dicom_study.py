"""Writes a volume of Hounsfield units as a CT series, well formed or with chosen faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate
from scipy import ndimage

from lungct_research.synthesis.phantom.dicom_faults import break_datasets, break_files
from lungct_research.synthesis.phantom.dicom_objects import enhanced_image, single_images
from lungct_research.synthesis.phantom.study_options import DEFAULT_OPTIONS, Orientation, StudyOptions, Syntax

OUTSIDE_HU = -1000
TILT_DEG = 15.0
OBLIQUE_DEG = (20.0, 10.0)
"""Rotation of an oblique series about the left-right and then the head-feet axis."""

_STORED_AXES = {
    Orientation.FEET_FIRST_SUPINE: "IPR",
    Orientation.PRONE: "SAR",
    Orientation.SAGITTAL: "LIP",
    Orientation.CORONAL: "PIL",
}
"""Patient direction in which slices, rows and columns count up, where it is not SPL."""
_AXES = {"S": (0, 1), "I": (0, -1), "P": (1, 1), "A": (1, -1), "L": (2, 1), "R": (2, -1)}
_SYNTAX_UIDS = {
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

Volume = npt.NDArray[np.integer] | npt.NDArray[np.floating]
Matrix = npt.NDArray[np.float64]


def write_study(volume_hu: Volume, out_dir: Path, options: StudyOptions = DEFAULT_OPTIONS) -> list[Path]:
    """Write one CT series.

    Args:
        volume_hu: ``[slices, rows, columns]``, slice 0 most caudal, rows to the back, columns to the left of
            the patient; centred on the origin of the patient's coordinates.
        out_dir: made where missing; files of an earlier series of the same number are replaced.
        options: attributes, encoding and faults.

    Returns:
        The files in the order of Instance Number.

    Raises:
        ValueError: a fault of slices is asked of a multi-frame image, or GDCM, which alone encodes JPEG
            Lossless, is not installed.
    """
    frames_hu, affine_lps = _as_stored(volume_hu, options)
    stored = np.stack([_stored_values(frame, options) for frame in frames_hu])
    make = enhanced_image if options.enhanced else single_images
    datasets = break_datasets(make(stored, affine_lps, options), options.faults)
    out_dir.mkdir(parents=True, exist_ok=True)
    stem = f"CT{options.series_number:03d}"
    for earlier in out_dir.glob(f"{stem}_*.dcm"):
        earlier.unlink()
    paths = [out_dir / f"{stem}_{number:04d}.dcm" for number in range(1, len(datasets) + 1)]
    for path, dataset in zip(paths, datasets, strict=True):
        _save(dataset, path, options.transfer_syntax)
    break_files(paths, options.faults)
    return paths


def write_localizer(volume_hu: Volume, out_dir: Path, options: StudyOptions = DEFAULT_OPTIONS) -> list[Path]:
    """Write the coronal projection of a volume as a localizer series of one image."""
    projection = volume_hu.mean(axis=1, keepdims=True, dtype=np.float64)
    image_type = ("ORIGINAL", "PRIMARY", "LOCALIZER")
    coronal = replace(options, orientation=Orientation.CORONAL, image_type=image_type, faults=())
    return write_study(projection, out_dir, coronal)


def _as_stored(volume_hu: Volume, options: StudyOptions) -> tuple[Volume, Matrix]:
    """Return frames ``[frames, rows, columns]`` as stored, and their indices (.., 1) to LPS millimetres."""
    shape, spacing_mm = np.array(volume_hu.shape), np.array(options.spacing_mm)
    affine = np.eye(4)
    affine[:3, :3] = np.diag(spacing_mm)[::-1]
    affine[:3, 3] = -(spacing_mm * (shape - 1) / 2)[::-1]
    if options.orientation is Orientation.GANTRY_TILT:
        to_volume = _tilt(volume_hu.shape, options.spacing_mm)
        tilted = ndimage.affine_transform(volume_hu.astype(np.float32), to_volume, order=1, cval=OUTSIDE_HU)
        return tilted, affine @ to_volume
    if options.orientation is Orientation.OBLIQUE:
        affine = _rotation(*np.radians(OBLIQUE_DEG)) @ affine
    frames, axes, to_volume = volume_hu, [], np.diag([0.0, 0.0, 0.0, 1.0])
    for stored_axis, letter in enumerate(_STORED_AXES.get(options.orientation, "SPL")):
        axis, sign = _AXES[letter]
        axes.append(axis)
        to_volume[axis, stored_axis] = sign
        if sign < 0:
            frames = np.flip(frames, axis)
            to_volume[axis, 3] = shape[axis] - 1
    return frames.transpose(axes), affine @ to_volume


def _tilt(shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> Matrix:
    """Return the matrix from indices of slices tilted about their middle row to those of the volume."""
    slices_per_row = np.sin(np.radians(TILT_DEG)) * spacing_mm[1] / spacing_mm[0]
    rows_per_row, middle = np.cos(np.radians(TILT_DEG)), (shape[1] - 1) / 2
    matrix = np.eye(4)
    matrix[:2, 1] = slices_per_row, rows_per_row
    matrix[:2, 3] = -slices_per_row * middle, (1 - rows_per_row) * middle
    return matrix


def _rotation(about_x: float, about_z: float) -> Matrix:
    """Return the matrix that turns LPS coordinates by two angles in radians."""
    cos_x, sin_x, cos_z, sin_z = np.cos(about_x), np.sin(about_x), np.cos(about_z), np.sin(about_z)
    first = np.array([[1, 0, 0, 0], [0, cos_x, -sin_x, 0], [0, sin_x, cos_x, 0], [0, 0, 0, 1]])
    second = np.array([[cos_z, -sin_z, 0, 0], [sin_z, cos_z, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return np.asarray(second @ first)


def _stored_values(frame_hu: Volume, options: StudyOptions) -> npt.NDArray[np.integer]:
    """Return Hounsfield units as 16-bit stored values, clipped to the bits stored."""
    low = -(1 << options.bits_stored - 1) if options.signed else 0
    high = low + (1 << options.bits_stored) - 1
    stored = np.rint((frame_hu - options.rescale_intercept) / options.rescale_slope).clip(low, high)
    if options.padding_value is not None:
        corner = max(1, min(frame_hu.shape) // 8)
        stored[:corner, :corner] = options.padding_value
    return np.asarray(stored, dtype="<i2" if options.signed else "<u2")


def _save(dataset: Dataset, path: Path, syntax: Syntax) -> None:
    """Write a data set whose Pixel Data is native little endian in another transfer syntax."""
    syntax_uid = _SYNTAX_UIDS[syntax]
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
