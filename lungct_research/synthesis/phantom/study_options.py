"""Choices for the DICOM study of a phantom; light, so that the command line can name them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Orientation(StrEnum):
    """Orientation of the slices in the patient."""

    HEAD_FIRST_SUPINE = "head-first-supine"
    FEET_FIRST_SUPINE = "feet-first-supine"
    PRONE = "prone"
    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    OBLIQUE = "oblique"
    GANTRY_TILT = "gantry-tilt"


class Syntax(StrEnum):
    """Transfer syntaxes the phantom can be written in, all of them lossless."""

    IMPLICIT = "implicit"
    EXPLICIT = "explicit"
    BIG_ENDIAN = "big-endian"
    DEFLATED = "deflated"
    RLE = "rle"
    JPEG_LOSSLESS = "jpeg-lossless"
    JPEG_LOSSLESS_SV1 = "jpeg-lossless-sv1"
    JPEG_LS = "jpeg-ls"
    JPEG_2000 = "jpeg-2000"


class Fault(StrEnum):
    """Fault of one slice in the middle of the series, or of all slices."""

    DUPLICATE_SLICE = "duplicate-slice"
    SECOND_PHASE_SLICE = "second-phase-slice"
    MISSING_SLICE = "missing-slice"
    WIDE_GAP = "wide-gap"
    UNEVEN_SPACING = "uneven-spacing"
    MIXED_ORIENTATIONS = "mixed-orientations"
    MIXED_SIZES = "mixed-sizes"
    MIXED_PIXEL_SPACINGS = "mixed-pixel-spacings"
    MISSING_RESCALE = "missing-rescale"
    LOCALIZER_INSIDE = "localizer-inside"
    MISSING_POSITION = "missing-position"
    CONSTANT_PIXELS = "constant-pixels"
    HU_OFFSET = "hu-offset"
    TRUNCATED_FILE = "truncated-file"
    ZERO_BYTE_FILE = "zero-byte-file"
    TEXT_FILE = "text-file"


@dataclass(frozen=True)
class StudyOptions:
    """Attributes, encoding and faults of the series that is written.

    Attributes:
        seed: all UIDs follow from it; series of one study share it and differ in ``series_number``.
        spacing_mm: distance of the volume's voxels along (slices, rows, columns).
        slice_thickness_mm: Slice Thickness; the slice spacing where None.
        reversed_files: file names and instance numbers count down along the slices.
        signed: Pixel Representation; stored values are clipped to what ``bits_stored`` can hold.
        padding_value: Pixel Padding Value (stored) and what stands in the corners of every slice, or None.
        enhanced: one multi-frame Enhanced CT file instead of one file a slice.
    """

    seed: int = 0
    spacing_mm: tuple[float, float, float] = (1.25, 0.7, 0.7)
    slice_thickness_mm: float | None = None
    kernel: str = "LUNG"
    manufacturer: str = "GE MEDICAL SYSTEMS"
    patient_name: str = "Phantom^Thorax"
    patient_id: str = "PHANTOM"
    patient_age_years: int | None = 50
    patient_sex: str = "O"
    patient_birth_date: str = ""
    study_date: str = "20200401"
    study_description: str = "Chest CT of a phantom"
    accession_number: str = ""
    institution: str = "Phantom Hospital"
    body_part: str = "CHEST"
    series_number: int = 1
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL")
    orientation: Orientation = Orientation.HEAD_FIRST_SUPINE
    reversed_files: bool = False
    transfer_syntax: Syntax = Syntax.EXPLICIT
    bits_stored: int = 16
    signed: bool = True
    rescale_slope: float = 1.0
    rescale_intercept: float = -1024.0
    padding_value: int | None = None
    enhanced: bool = False
    faults: tuple[Fault, ...] = ()


DEFAULT_OPTIONS = StudyOptions()
