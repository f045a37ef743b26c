"""Lobes and opacities as NIfTI label maps on the grid of the series."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from lungct.file_names import LOBES_FILE, OPACITIES_FILE
from lungct.records import CtVolume, LungAnatomy, MaskArray, Opacities
from lungct.records.orientation import LPS_TO_RAS, from_canonical

_REVERSE_INDICES = np.eye(4)[[2, 1, 0, 3]]


def write_label_maps(folder: Path, source: CtVolume, anatomy: LungAnatomy, opacities: Opacities) -> None:
    """Write both label maps.

    Args:
        folder: existing folder.
        source: the volume as stored; the files lie on its grid.
        anatomy: lobes on the canonical grid.
        opacities: mask on the canonical grid.
    """
    for name, mask in ((LOBES_FILE, anatomy.lobes), (OPACITIES_FILE, opacities.mask)):
        _write_nifti(folder / name, from_canonical(mask, source), source)


def _write_nifti(path: Path, mask: MaskArray, source: CtVolume) -> None:
    affine_ras = LPS_TO_RAS @ source.affine_lps @ _REVERSE_INDICES
    image = nib.Nifti1Image(mask.T, affine_ras)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
