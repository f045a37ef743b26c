"""Chest CTs in NIfTI, NRRD or MetaImage files, for research: their voxels must be Hounsfield units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from pydicom.uid import generate_uid

from lungct.dicom_read.chest import require_chosen
from lungct.dicom_read.lying import flag_orientation
from lungct.dicom_read.plausibility import flag_implausible_hu, flag_unequal_slices
from lungct.dicom_read.selection import accept, judge
from lungct.errors import GeometryError, InputError, LungCtError, PixelDataError
from lungct.networks.weights import file_sha256
from lungct.records import Chest, CtVolume, Float64Array, PatientStudy, Scan, Selection, Series, SliceHeader
from lungct.records.orientation import LPS_TO_RAS, to_canonical
from lungct.settings import SelectionLimits

NIFTI = (".nii", ".nii.gz")
ITK = (".nrrd", ".mha", ".mhd")

N_AXES = 3
HIGHEST_AIR_HU = -500
"""Highest value of the least dense voxel of a chest, far above air in any calibration. Own decision."""

MAX_SHEAR = 1e-3
"""Largest cosine between two axes of a grid that counts as rounding. Own decision."""


def is_volume_file(path: Path) -> bool:
    """Tell by its name whether a file is a volume, so that it is not taken for DICOM."""
    return path.is_file() and path.name.lower().endswith(NIFTI + ITK)


def read_volume_file(path: Path, needs_orientation: bool = False) -> CtVolume:
    """Read a volume as it is stored: the axes of the array run as in the file.

    Args:
        path: NIfTI, NRRD or MetaImage file.
        needs_orientation: see :func:`read_nifti`.

    Raises:
        InputError: the file is missing, damaged or not three-dimensional; the message names it.
        LungCtError: the library that reads this kind of file is not installed.
    """
    is_nifti = path.name.lower().endswith(NIFTI)
    return read_nifti(path, needs_orientation) if is_nifti else _read_itk(path)


def read_nifti(path: Path, needs_orientation: bool = False) -> CtVolume:
    """Read a NIfTI volume as it is stored; its affine, which is RAS, becomes LPS.

    Args:
        path: NIfTI file.
        needs_orientation: refuse a file without a form code: its made-up affine may swap left and right.

    Raises:
        InputError: the file is missing, damaged or not three-dimensional; the message names it.
    """
    try:
        image: Any = nibabel.load(path)
        array = np.asarray(image.dataobj)
    except (ImageFileError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as NIfTI: {type(error).__name__}", "NIFTI") from error
    if needs_orientation and not (int(image.header["sform_code"]) or int(image.header["qform_code"])):
        raise GeometryError(
            f"{path.name} does not say how the patient lies: set sform_code and qform_code", "NO_ORIENTATION"
        )
    return _volume(path, array, LPS_TO_RAS @ image.affine)


def _read_itk(path: Path) -> CtVolume:
    try:
        import SimpleITK as sitk  # noqa: N813
    except ModuleNotFoundError as error:
        message = f"{path.suffix} files need SimpleITK: pip install 'lungct[research]'"
        raise LungCtError(message, "EXTRA_MISSING") from error
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"{path} cannot be read as a volume", "VOLUME_FILE") from error
    affine = np.eye(4)
    if image.GetDimension() == N_AXES:
        affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
        affine[:3, 3] = image.GetOrigin()
    return _volume(path, sitk.GetArrayFromImage(image).T, affine)


def _volume(path: Path, array: npt.NDArray[Any], affine_lps: Float64Array) -> CtVolume:
    if array.ndim != N_AXES:
        raise GeometryError(f"{path} has {array.ndim} dimensions: expected {N_AXES}", "VOLUME_FILE")
    if not np.issubdtype(array.dtype, np.integer) or np.iinfo(array.dtype).max > np.iinfo(np.int16).max:
        array = array.astype(np.float32)
    return CtVolume(array.astype(np.result_type(array, np.int16)), affine_lps)


def read_hu_file(path: Path) -> CtVolume:
    """Read a volume file, with its axes checked and its voxels in HU.

    Raises:
        InputError: see :func:`read_volume_file`; the file does not say how the patient lies, its axes are
            not at right angles, or its voxels are not Hounsfield units.
    """
    volume = read_volume_file(path, needs_orientation=True)
    axes = volume.affine_lps[:3, :3] / np.array(volume.spacing_mm)
    if not np.isfinite(axes).all() or np.abs(axes.T @ axes - np.eye(3)).max() > MAX_SHEAR:
        raise GeometryError(
            f"{path.name}: the axes are not at right angles: resample it to a regular grid", "SHEARED_GRID"
        )
    if not np.isfinite(volume.volume_hu).all():
        raise PixelDataError(f"{path.name}: some values are no numbers: store Hounsfield units", "NOT_HU")
    if (lowest_hu := float(volume.volume_hu.min())) > HIGHEST_AIR_HU:
        raise PixelDataError(
            f"{path.name}: the lowest value is {lowest_hu:g}, so it holds no air: store Hounsfield units",
            "NOT_HU",
        )
    return volume


def _series(path: Path, canonical: CtVolume) -> Series:
    """Describe the slices of a canonical volume as headers would."""
    n_slices, rows, columns = canonical.volume_hu.shape
    affine, (slice_mm, row_mm, column_mm) = canonical.affine_lps, canonical.spacing_mm
    along_row, along_column = affine[:3, 2] / column_mm, affine[:3, 1] / row_mm
    slices = tuple(
        SliceHeader(
            path=path,
            instance_number=i + 1,
            rows=rows,
            columns=columns,
            position_mm=tuple((affine @ (i, 0, 0, 1))[:3].tolist()),
            orientation=(*along_row.tolist(), *along_column.tolist()),
            pixel_spacing_mm=(row_mm, column_mm),
            image_type=("",),
            frame=i,
            name=f"{path.name}, slice {i + 1}",
        )
        for i in range(n_slices)
    )
    study_uid, series_uid = (
        generate_uid(entropy_srcs=[file_sha256(path), what]) for what in ("study", "series")
    )
    return Series(study_uid, series_uid, "CT", slices, slice_thickness_mm=slice_mm, has_own_identifiers=False)


def select_volume(
    path: Path, volume: CtVolume, limits: SelectionLimits, accepted: frozenset[str] = frozenset()
) -> Selection:
    """Judge the volume of a file by the rules for DICOM series, as far as they apply.

    Rules whose codes are ``accepted`` do not exclude it.
    """
    series = _series(path, to_canonical(volume))
    verdict = accept(judge(series, limits), accepted=accepted)
    ranked = replace(verdict, rank=1) if verdict.eligible else verdict
    return Selection(Scan(path, (series,)), (ranked,), accepted_codes=verdict.accepted_codes)


def volume_chest(selection: Selection, source: CtVolume) -> Chest:
    """Make the chest that is analysed of a volume; nothing is known of the patient.

    Raises:
        NoEligibleSeriesError: the rules speak against the volume.
    """
    require_chosen(selection)
    canonical = to_canonical(source)
    hu_flags = (*flag_implausible_hu(canonical.volume_hu), *flag_unequal_slices(canonical.volume_hu))
    flagged = source.with_flags(*hu_flags, *flag_orientation(canonical))
    return Chest(selection, PatientStudy(), flagged, to_canonical(flagged))
