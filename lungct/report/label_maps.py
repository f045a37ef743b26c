"""Lobes and opacities as NIfTI label maps on the grid of the series."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

import lungct
from lungct.file_names import LOBES_FILE, OPACITIES_FILE
from lungct.records import CtVolume, LungAnatomy, Opacities
from lungct.records.orientation import LPS_TO_RAS, from_canonical

DESCRIPTION_BYTES = 79
"""Room in the field ``descrip`` of NIfTI-1, whose last byte ends the text."""

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
        note: first words of the description in the header; ASCII, cut where its field ends.
    """
    description = "; ".join(filter(None, (note, f"lungct {lungct.__version__}, research use only")))
    affine_ras = LPS_TO_RAS @ source.affine_lps @ _REVERSE_INDICES
    for name, mask in ((LOBES_FILE, anatomy.lobes), (OPACITIES_FILE, opacities.mask)):
        image = nib.Nifti1Image(from_canonical(mask, source).T, affine_ras)
        image.set_sform(affine_ras, code="scanner")
        image.set_qform(affine_ras, code="scanner")  # some readers look at this one only
        image.header.set_xyzt_units("mm")
        image.header["descrip"] = description.encode("ascii", "replace")[:DESCRIPTION_BYTES]
        nib.save(image, folder / name)
