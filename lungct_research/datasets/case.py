"""A chest of a public data set, and masks from NIfTI files of any orientation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt

from lungct.errors import GeometryError, InputError
from lungct.records import CtVolume, Lobe, MaskArray
from lungct.records.orientation import to_canonical
from lungct_research.datasets.ct_files import read_nifti

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class OpacityCase:
    """A chest and what experts say about it; masks and slices as in the canonical volume, caudal first.

    Attributes:
        name: of the case in its data set.
        volume: canonical.
        opacity: 1 inside infectious opacities; None where nobody drew them.
        lungs: 1 inside the lungs, opacities included; None where nobody drew them.
        slice_infected: of every slice; None where nobody said.
        lobe_infected: of every slice, by lobe; None where nobody said.
        infected: whether the chest shows an infection; None where nobody said.
        kinds: :attr:`lungct_research.synthesis.lesions.Kind.label` of painted lesions; None where nothing was painted.
    """

    name: str
    volume: CtVolume
    opacity: MaskArray | None = None
    lungs: MaskArray | None = None
    slice_infected: BoolArray | None = None
    lobe_infected: Mapping[Lobe, BoolArray] | None = None
    infected: bool | None = None
    kinds: MaskArray | None = None


def require(path: Path) -> Path:
    """A file or folder of a data set that must be there.

    Raises:
        InputError: it is not.
    """
    if not path.exists():
        raise InputError(f"{path} is missing: --data must name the folder of the data set", "DATA_SET_LAYOUT")
    return path


def require_any(paths: list[Path], pattern: str) -> list[Path]:
    """Sorted files or folders of a data set, of which there must be at least one.

    Raises:
        InputError: there is none; the message says which pattern was looked for.
    """
    if not paths:
        raise InputError(f"nothing matches {pattern}: is this the folder of the data set?", "DATA_SET_LAYOUT")
    return sorted(paths)


def canonical_mask(path: Path, source: CtVolume, image_path: Path) -> MaskArray:
    """Labels of a NIfTI file, on the canonical grid of the volume they belong to.

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
