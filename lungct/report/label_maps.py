"""Lobes and opacities as NIfTI label maps on the grid of the series."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

import lungct
from lungct.file_names import LOBES_FILE, OPACITIES_FILE
from lungct.records import CtVolume, LungAnatomy, MaskArray, Opacities
from lungct.records.orientation import LPS_TO_RAS, from_canonical

DESCRIPTION_BYTES = 79
"""Of the field ``descrip`` of NIfTI-1, whose last byte ends the text."""

_REVERSE_INDICES = np.eye(4)[[2, 1, 0, 3]]


def write_label_maps(
    folder: Path, source: CtVolume, anatomy: LungAnatomy, opacities: Opacities, note: str = ""
) -> None:
    """Write both label maps.

    Args:
        folder: existing folder.
        source: the volume as stored; the files lie on its grid.
        anatomy: lobes on the canonical grid.
        opacities: mask on the canonical grid.
        note: what readers of the header should see first; ASCII, cut where the header ends.
    """
    description = "; ".join(filter(None, (note, f"lungct {lungct.__version__}, research use only")))
    for name, mask in ((LOBES_FILE, anatomy.lobes), (OPACITIES_FILE, opacities.mask)):
        _write_nifti(folder / name, from_canonical(mask, source), source, description)


def _write_nifti(path: Path, mask: MaskArray, source: CtVolume, description: str) -> None:
    """Write a mask whose place qform and sform give alike: readers differ in which of them they look at."""
    affine_ras = LPS_TO_RAS @ source.affine_lps @ _REVERSE_INDICES
    image = nib.Nifti1Image(mask.T, affine_ras)
    image.set_sform(affine_ras, code="scanner")
    image.set_qform(affine_ras, code="scanner")
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description.encode("ascii", "replace")[:DESCRIPTION_BYTES]
    nib.save(image, path)
