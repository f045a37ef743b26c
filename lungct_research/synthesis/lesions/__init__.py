"""Lung opacities painted into a chest CT in Hounsfield units, with their exact masks.

Lesions raise the density of aerated lung only: vessels, fissures and the host's noise stay visible, and
airway lumens stay open (air bronchograms). The mask is where a lesion's weight is at least 0.5. The idea of
learning from lesions painted into healthy chests is that of Yao et al. 2021 (IEEE Trans. Med. Imaging 40:
2808-2819); kinds and placement follow radiological reports, named in the modules ``kinds`` and ``placement``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lungct_research.datasets.arrays import BoolArray, FloatArray
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.fields import signed_depth_mm
from lungct_research.synthesis.lesions.kinds import Blending, Kind, Lesion, draw_lesion
from lungct_research.synthesis.lesions.painting import PLEURA_MM, Host, lesion_weight, paint
from lungct_research.synthesis.lesions.placement import place_lesions

__all__ = ["Blending", "Host", "Infection", "Kind", "Lesion", "add_infection"]


class Infection(NamedTuple):
    """A chest with painted lesions.

    Attributes:
        volume_hu: ``[slices, rows, columns]`` float32.
        mask: all lesions.
        kinds: :attr:`Kind.label` of the lesion at each voxel of the mask, 0 elsewhere.
    """

    volume_hu: FloatArray
    mask: BoolArray
    kinds: npt.NDArray[np.uint8]


def add_infection(
    host: Host, rng: np.random.Generator, disease: Disease, only: Kind | None = None
) -> Infection:
    """Paint a whole infection.

    Args:
        host: the chest; not changed.
        rng: the only source of randomness.
        disease: COVID-19 or another pneumonia.
        only: the one kind that all lesions are of; those of the disease where None.
    """
    volume_hu = host.volume_hu.copy()
    kinds = np.zeros(volume_hu.shape, np.uint8)
    lung_depth_mm = signed_depth_mm(host.lungs > 0, host.spacing_mm)
    for kind, shape_mm, box in place_lesions(host, rng, Disease(disease), lung_depth_mm, only):
        lesion = draw_lesion(rng, kind)
        part = host.crop(box, volume_hu)
        weight = lesion_weight(shape_mm, lesion.border_mm, part.lumen)
        near_lung = lung_depth_mm[box] > -PLEURA_MM
        volume_hu[box] = paint(part, weight * near_lung, shape_mm, lesion, rng)
        kinds[box][(weight >= 0.5) & (part.lungs > 0)] = kind.label
    return Infection(volume_hu, kinds > 0, kinds)
