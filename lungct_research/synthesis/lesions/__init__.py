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
from lungct_research.datasets.densities import GAS_HU
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.fields import signed_depth_mm
from lungct_research.synthesis.lesions.kinds import Kind, draw_lesion
from lungct_research.synthesis.lesions.painting import PLEURA_MM, Host, lesion_weight, paint
from lungct_research.synthesis.lesions.placement import place_lesions
from lungct_research.synthesis.lesions.shapes import blob

__all__ = ["Host", "Infection", "Kind", "add_infection", "with_cavity"]

LEAST_DEPTH_MM = 6.0
"""Least depth of a consolidation that has room for a cavity with its wall; own decision."""

WALL_SHARE = (0.2, 0.5)
"""Wall of a cavity as a part of the depth of the consolidation; own decision."""


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
    """Paint the lesions of a whole infection.

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


def with_cavity(
    host: Host, volume_hu: FloatArray, kinds: npt.NDArray[np.uint8], rng: np.random.Generator
) -> FloatArray:
    """Return a volume with a cavity in its deepest consolidation; unchanged where none is deep enough.

    Cavities hold gas where consolidated lung has died, as in abscess, necrotising pneumonia, tuberculosis.

    Args:
        host: chest that the infection was painted into.
        volume_hu: volume with the infection.
        kinds: :attr:`Kind.label` of its lesions.
        rng: source of size, shape and density.
    """
    depth_mm = signed_depth_mm(kinds == Kind.CONSOLIDATION.label, host.spacing_mm)
    deepest = np.unravel_index(depth_mm.argmax(), depth_mm.shape)
    if depth_mm[deepest] < LEAST_DEPTH_MM:
        return volume_hu
    centre_mm = (np.array(deepest) + 0.5) * host.spacing_mm
    radius_mm = float(depth_mm[deepest]) * (1 - rng.uniform(*WALL_SHARE))
    shape_mm, box = blob(host, rng, centre_mm.astype(np.float32), radius_mm, roughness=0.15)
    gas = np.clip(0.5 + shape_mm / host.spacing_mm[1], 0, 1) * (kinds[box] == Kind.CONSOLIDATION.label)
    changed = volume_hu.copy()
    changed[box] += gas.astype(np.float32) * (np.float32(rng.uniform(*GAS_HU)) - changed[box])
    return changed
