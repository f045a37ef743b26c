"""Reading the CT data for training: anatomies, real chests and the test volumes, all with axes S, P, L."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lungct_research.synthesis.fields import (
    BoolArray,
    FloatArray,
    Spacing,
    grid_shape,
    resize,
    signed_depth_mm,
)

SPLITS_DIR = Path(__file__).parent / "splits"
LUNG_BELOW_HU = -500
LUMEN_BELOW_HU = -930
LUNG_AT_LEAST_ML = 150.0
SMOOTHING_MM = 1.5

UPSIDE_DOWN = ("vol1",)
"""Grey chests whose slices run from head to feet, as one sees; their headers do not tell."""

NORMAL_LUNG_HU = -850.0
MUSCLE_HU = 40.0

Volume = npt.NDArray[np.generic]


def read_split(name: str) -> dict[str, list[str]]:
    """Case names of ``train``, ``validation`` and ``test``; ``name`` is a file of ``lungct_research/datasets/splits``."""
    split: dict[str, list[str]] = json.loads((SPLITS_DIR / f"{name}.json").read_text(encoding="utf-8"))
    return split


def read_nifti(path: Path) -> tuple[Volume, Spacing]:
    """A NIfTI volume as ``[slices, rows, columns]`` with axes S, P, L, and its spacing in mm.

    Raises:
        ValueError: the volume is not stored in LPS orientation.
    """
    image = nibabel.load(path)
    orientation = "".join(nibabel.aff2axcodes(image.affine))
    if orientation != "LPS":
        raise ValueError(f"{path.name} is oriented {orientation}: expected LPS")
    column_mm, row_mm, slice_mm = (float(step) for step in image.header.get_zooms()[:3])
    return np.ascontiguousarray(np.asarray(image.dataobj).transpose(2, 1, 0)), (slice_mm, row_mm, column_mm)


def read_anatomy(data_dir: Path, name: str) -> npt.NDArray[np.uint8]:
    """Expert lobes of one patient at 1.5 mm, codes as in :mod:`lungct_research.synthesis.chest`."""
    codes, _ = read_nifti(data_dir / "lobes" / "anatomies" / f"{name}.nii.gz")
    return codes.astype(np.uint8)


def read_real_chest(data_dir: Path, name: str) -> tuple[FloatArray, Spacing]:
    """A real chest CT without infection in HU, and its spacing in mm."""
    volume, spacing_mm = read_nifti(data_dir / "no_infection" / f"{name}.nii.gz")
    return volume.astype(np.float32), spacing_mm


def read_grey_chest(data_dir: Path, name: str) -> tuple[FloatArray, npt.NDArray[np.uint8], Spacing]:
    """A COVID-19 chest stored as 8-bit grey, with approximate HU; for testing only.

    HU come from the line through the commonest grey of normal lung and that of muscle and blood.

    Returns:
        Volume in HU, expert mask (1 opacity, 2 other lung) and spacing in mm.
    """
    grey, spacing_mm = read_nifti(data_dir / "covid_grey" / f"{name}.nii.gz")
    mask, _ = read_nifti(data_dir / "covid_grey" / f"{name}_seg.nii.gz")
    if name in UPSIDE_DOWN:
        grey, mask = grey[::-1], mask[::-1]
    volume_hu = hu_of_grey(grey, normal_lung=mask == 2, outside=mask == 0)
    return volume_hu, np.ascontiguousarray(mask, np.uint8), spacing_mm


def hu_of_grey(grey: Volume, normal_lung: BoolArray, outside: BoolArray) -> FloatArray:
    """Approximate HU of a chest stored as 8-bit grey in an unknown window.

    Args:
        grey: 0 to 255, any shape.
        normal_lung: lung without opacities.
        outside: what is not lung.
    """
    lung_grey = int(np.bincount(grey[normal_lung].ravel(), minlength=256).argmax())
    counts = np.bincount(grey[outside].ravel(), minlength=256)[:255].astype(float)
    counts[: lung_grey + 60] = 0
    muscle_grey = int(ndimage.gaussian_filter1d(counts, 2).argmax())
    hu_a_grey = (MUSCLE_HU - NORMAL_LUNG_HU) / (muscle_grey - lung_grey)
    return (NORMAL_LUNG_HU + (grey.astype(np.float32) - lung_grey) * hu_a_grey).astype(np.float32)


def resample_hu(volume: Volume, spacing_mm: Spacing, wanted_mm: Spacing) -> tuple[FloatArray, Spacing]:
    """Average a volume over voxels of about the wanted spacing; returns it with its exact spacing."""
    resampled = resize(volume, grid_shape(volume.shape, spacing_mm, wanted_mm), "area")
    slice_mm, row_mm, column_mm = (
        np.asarray(volume.shape) * np.asarray(spacing_mm) / np.asarray(resampled.shape)
    )
    return resampled, (float(slice_mm), float(row_mm), float(column_mm))


def threshold_lungs(volume_hu: FloatArray, spacing_mm: Spacing) -> tuple[BoolArray, BoolArray]:
    """Lungs of a chest without infection by threshold, and the large airways, which are not lung.

    Air that does not touch the image border and is large enough is lung; trachea and main bronchi are the
    lumen component that reaches highest near the midline; vessels inside the lungs are closed.

    Args:
        volume_hu: ``[slices, rows, columns]``, axes S, P, L.
        spacing_mm: along slices, rows, columns.

    Returns:
        Lung mask and airway mask, both of the volume's shape.
    """
    smooth = ndimage.gaussian_filter(volume_hu, [SMOOTHING_MM / step for step in spacing_mm])
    airways = _trachea(smooth, spacing_mm)
    near_airways = signed_depth_mm(airways, spacing_mm) > -3.0
    air = (smooth < LUNG_BELOW_HU) & ~near_airways
    parts, _ = ndimage.label(air)
    ml = np.bincount(parts.ravel()) * float(np.prod(spacing_mm)) / 1000
    kept = ml >= LUNG_AT_LEAST_ML
    kept[0] = False
    kept[_touching_sides(parts)] = False
    lungs = kept[parts]
    closed = signed_depth_mm(signed_depth_mm(lungs, spacing_mm) > -5.0, spacing_mm) > 5.0
    return (lungs | (closed & ~near_airways)) & ~airways, near_airways


def _touching_sides(parts: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    sides = (parts[:, 0], parts[:, -1], parts[:, :, 0], parts[:, :, -1])
    return np.unique(np.concatenate([side.ravel() for side in sides]))


def _trachea(smooth_hu: FloatArray, spacing_mm: Spacing) -> BoolArray:
    """The lumen component of 8 to 120 ml that reaches the highest slice, within 40 mm of the midline."""
    lumen = smooth_hu < LUMEN_BELOW_HU
    parts, n = ndimage.label(lumen)
    if not n:
        return lumen
    ml = np.bincount(parts.ravel()) * float(np.prod(spacing_mm)) / 1000
    boxes = ndimage.find_objects(parts)
    middle = smooth_hu.shape[2] / 2
    outside = set(_touching_sides(parts).tolist())
    best, highest = 0, -1
    for index, box in enumerate(boxes, start=1):
        off_mm = abs((box[2].start + box[2].stop) / 2 - middle) * spacing_mm[2]
        if 8 <= ml[index] <= 120 and off_mm < 40 and index not in outside and box[0].stop > highest:
            best, highest = index, box[0].stop
    return parts == best if best else np.zeros_like(lumen)
