"""Chest CTs as sites and public data sets keep them: DICOM, NIfTI, MetaImage, folders of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from lungct.dicom_read import choose_series, read_chest, scan_folder
from lungct.dicom_read.headers import text
from lungct.errors import GeometryError, InputError
from lungct.records import CtVolume, HuArray, MaskArray
from lungct.records.orientation import canonical_volume, to_canonical
from lungct.volume_files import read_volume_file

PICTURES = (".png", ".jpg", ".jpeg")
PICTURE_WINDOW_HU = (-1250.0, 250.0)
"""Densities that 0 and 255 stand for where lungs are stored as grey: the lung window. Own assumption, since
pictures do not tell."""

PICTURE_EXTENT_MM = (300.0, 350.0, 350.0)
"""Extent of pictures along slices, rows and columns. Own assumption: a chest is about that large."""

Facts = Mapping[str, str]


def read_ct(path: Path) -> tuple[CtVolume, Facts]:
    """Read a canonical volume, and what its headers say for subgroups, by the names of ``manifest.FACTS``.

    Args:
        path: folder with DICOM, of which the series is read that the application would choose; folder with
            one PNG or JPEG a slice, from head to feet; NIfTI file; any file that SimpleITK reads.

    Raises:
        LungCtError: there is no series that may be analysed, or the file cannot be read as a volume.
    """
    if path.is_dir():
        pictures = [file for file in path.iterdir() if file.suffix.lower() in PICTURES]
        return (_read_pictures(pictures), {}) if pictures else _read_dicom(path)
    return to_canonical(read_volume_file(path)), {}


def _read_dicom(folder: Path) -> tuple[CtVolume, Facts]:
    chest = read_chest(choose_series(scan_folder(folder)))
    series = chest.selection.analysed
    known = {
        "vendor": series.manufacturer,
        "kernel": series.kernel,
        "slice_thickness_mm": series.slice_thickness_mm,
        "sex": text(chest.patient.header, "PatientSex"),
        "age_years": series.age_years,
    }
    return chest.volume, {name: str(value) for name, value in known.items() if value not in (None, "")}


def _read_pictures(files: list[Path]) -> CtVolume:
    """Read pictures in the order of the numbers in their names, with approximate HU and spacing."""
    ordered = sorted(files, key=lambda file: (int("0" + "".join(filter(str.isdigit, file.stem))), file.name))
    try:
        slices = [np.asarray(Image.open(file).convert("L"), np.float32) for file in reversed(ordered)]
        grey = np.stack(slices)
    except (OSError, ValueError) as error:
        raise InputError(f"{files[0].parent} holds pictures that cannot be read", "PICTURES") from error
    slice_mm, row_mm, column_mm = np.divide(PICTURE_EXTENT_MM, grey.shape).tolist()
    return canonical_volume(convert_grey_to_hu(grey), (slice_mm, row_mm, column_mm))


def convert_grey_to_hu(grey: np.ndarray) -> HuArray:
    """Convert grey values from 0 to 255 in the lung window to HU, float32 of any shape."""
    low_hu, high_hu = PICTURE_WINDOW_HU
    return low_hu + grey.astype(np.float32) * np.float32((high_hu - low_hu) / 255)


def read_lungs(path: Path, volume: CtVolume) -> MaskArray:
    """Read a mask of lungs or lobes on the grid of a canonical volume.

    Args:
        path: a volume file.
        volume: canonical.

    Returns:
        ``[slices, rows, columns]``, 1 inside.

    Raises:
        GeometryError: the mask is empty or does not lie on the grid.
    """
    mask = to_canonical(read_volume_file(path))
    corners = np.array([[0, 0, 0, 1], [*volume.volume_hu.shape, 1]]).T
    off_mm = np.abs((mask.affine_lps - volume.affine_lps) @ corners).max()
    if mask.volume_hu.shape != volume.volume_hu.shape or off_mm > min(volume.spacing_mm):
        raise GeometryError(f"{path} does not lie on the grid of the CT", "MASK_GRID")
    if not mask.volume_hu.any():
        raise GeometryError(f"{path} is empty", "MASK_EMPTY")
    return np.ascontiguousarray(mask.volume_hu > 0).astype(np.uint8)
