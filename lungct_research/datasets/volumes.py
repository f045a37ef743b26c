"""The project's own CT data: anatomies, real chests and the test volumes, all with axes S, P, L."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lungct.records.orientation import canonical_volume, to_canonical
from lungct.volume_files import read_nifti
from lungct_research.datasets.arrays import BoolArray, FloatArray, Labels, Spacing
from lungct_research.datasets.case import Case
from lungct_research.datasets.densities import NORMAL_LUNG_HU, SOFT_TISSUE_HU

SPLITS_DIR = Path(__file__).parent / "splits"

AIRWAY_BIT = 16
"""Bit of an airway voxel in an anatomy. Alone it means trachea and main bronchi, which are not lung."""

MACHINE_REFERENCE = "lidc-0001"
"""Real chest whose lobes another segmenter drew."""

REAL_CHEST_FOLDERS = ("no_infection", "more_chests")


def read_split(name: str) -> dict[str, list[str]]:
    """Read the case names of ``train``, ``validation`` and ``test`` from a file of ``splits``."""
    split: dict[str, list[str]] = json.loads((SPLITS_DIR / f"{name}.json").read_text(encoding="utf-8"))
    return split


def read_array(path: Path) -> tuple[npt.NDArray[np.generic], Spacing]:
    """Read a NIfTI volume with its axes turned to S, P, L, and its spacing."""
    volume = to_canonical(read_nifti(path))
    return np.ascontiguousarray(volume.volume_hu), volume.spacing_mm


def read_anatomy(data_dir: Path, name: str) -> Labels:
    """Read the expert lobes of one patient at 1.5 mm: :attr:`Lobe.label`, with :data:`AIRWAY_BIT`."""
    codes, _ = read_array(data_dir / "lobes" / "anatomies" / f"{name}.nii.gz")
    return codes.astype(np.uint8)


def read_real_chest(data_dir: Path, name: str) -> tuple[FloatArray, Spacing]:
    """Read a real chest CT in HU, and its spacing in mm; from ``no_infection`` or ``more_chests``."""
    file = f"{name}.nii.gz"
    folder = next((each for each in REAL_CHEST_FOLDERS if (data_dir / each / file).exists()), "no_infection")
    volume, spacing_mm = read_array(data_dir / folder / file)
    return volume.astype(np.float32), spacing_mm


def read_machine_reference(data_dir: Path) -> Case:
    """Read a real chest with the lobes another segmenter drew: a smoke test, no expert truth."""
    volume_hu, spacing_mm = read_real_chest(data_dir, MACHINE_REFERENCE)
    lobes, _ = read_array(data_dir / "lobes" / f"{MACHINE_REFERENCE}_lobes.nii.gz")
    volume = canonical_volume(volume_hu, spacing_mm)
    return Case(MACHINE_REFERENCE, volume, lobes=lobes.astype(np.uint8))


def estimate_hu(grey: Labels, normal_lung: BoolArray, outside: BoolArray) -> FloatArray:
    """Estimate the HU of a chest stored as 8-bit grey in an unknown window.

    Args:
        grey: 0 to 255, any shape.
        normal_lung: lung without opacities.
        outside: what is not lung.
    """
    lung_grey = int(np.bincount(grey[normal_lung].ravel(), minlength=256).argmax())
    counts = np.bincount(grey[outside].ravel(), minlength=256)[:255].astype(float)
    counts[: lung_grey + 60] = 0
    muscle_grey = int(ndimage.gaussian_filter1d(counts, 2).argmax())
    hu_a_grey = (SOFT_TISSUE_HU - NORMAL_LUNG_HU) / (muscle_grey - lung_grey)
    return (NORMAL_LUNG_HU + (grey.astype(np.float32) - lung_grey) * hu_a_grey).astype(np.float32)
