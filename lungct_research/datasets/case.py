"""A chest of a data set with whatever is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import nibabel
import numpy as np

from lungct.errors import GeometryError, InputError
from lungct.records import CtVolume, Lobe, MaskArray
from lungct.records.orientation import to_canonical
from lungct.volume_files import read_nifti
from lungct_research.datasets.arrays import BoolArray, Labels
from lungct_research.datasets.disease import Disease

Part = TypeVar("Part")


@dataclass(frozen=True, eq=False)
class Case:
    """A chest and its truth; a part that nobody knows is None.

    Masks and labels lie on the grid of the canonical volume, the most caudal slice first.

    Attributes:
        name: name of the case in its data set.
        volume: canonical volume.
        opacity: 1 inside infectious opacities.
        lungs: 1 inside the lungs, opacities included.
        lobes: :attr:`lungct.records.Lobe.label`.
        slice_infected: whether each slice shows an infection.
        lobe_infected: the same for each lobe.
        disease: disease that the chest shows.
        kinds: :attr:`lungct_research.synthesis.lesions.Kind.label` of painted lesions.
    """

    name: str
    volume: CtVolume
    opacity: MaskArray | None = None
    lungs: MaskArray | None = None
    lobes: MaskArray | None = None
    slice_infected: BoolArray | None = None
    lobe_infected: Mapping[Lobe, BoolArray] | None = None
    disease: Disease | None = None
    kinds: Labels | None = None


def require_known(part: Part | None, case: str, what: str) -> Part:
    """Return a part of the truth of a case that must be known.

    Raises:
        InputError: it is not.
    """
    if part is None:
        raise InputError(f"{case}: {what} are not known: choose a data set that has them", "CASE_PART")
    return part


def find_paths(root: Path, pattern: str) -> list[Path]:
    """Return the sorted files or folders of a data set that match a pattern.

    Raises:
        InputError: there is none.
    """
    paths = sorted(root.resolve().glob(pattern))
    if not paths:
        message = f"nothing matches {root}/{pattern}: is this the folder of the data set?"
        raise InputError(message, "DATA_SET_LAYOUT")
    return paths


def read_canonical_mask(path: Path, source: CtVolume, image_path: Path) -> MaskArray:
    """Read labels from a NIfTI file, on the canonical grid of the volume they belong to.

    Headers of masks may differ in rounding, so the shape and the directions of the axes decide.

    Raises:
        GeometryError: the mask does not lie on the grid of the volume; the message names both files.
    """
    mask = read_nifti(path)
    axes = [nibabel.aff2axcodes(volume.affine_lps) for volume in (mask, source)]
    if mask.volume_hu.shape != source.volume_hu.shape or axes[0] != axes[1]:
        raise GeometryError(f"{path} does not lie on the grid of {image_path}", "MASK_GRID")
    labels = to_canonical(CtVolume(mask.volume_hu, source.affine_lps)).volume_hu
    return np.ascontiguousarray(np.round(labels), np.uint8)
