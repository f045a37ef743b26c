"""Signs that look like an infection and are none: painted into a host, never into a mask.

Partial volume at the diaphragm, vessels and contrast medium need no painting: the hosts have them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lungct_research.datasets.arrays import FloatArray
from lungct_research.datasets.densities import EMPHYSEMA_HU, RETICULATION_HU, SOFT_TISSUE_HU, SOLID_NODULE_HU
from lungct_research.synthesis.fields import signed_depth_mm, smooth_field
from lungct_research.synthesis.lesions.kinds import Kind, Lesion
from lungct_research.synthesis.lesions.painting import Host, lesion_weight, paint
from lungct_research.synthesis.lesions.placement import basal, centres, nodule_mm
from lungct_research.synthesis.lesions.shapes import blob

EMPHYSEMA_KNOT_MM = (4.0, 12.0)
EMPHYSEMA_ABOVE = (0.6, 1.5)
"""Deviations of the random field above which lung is destroyed: 27 to 7 % of it at the apex; own decision."""

RETICULATION_DEPTH_MM = (5.0, 25.0)
RETICULATION_KNOT_MM = (2.5, 5.0)
"""Depth below the pleura and distance of the fine lines of fibrosis; own decision."""

SOLID_NODULE_MM = (8.0, 0.5, 4.0, 30.0)
"""Median, logarithmic deviation, smallest and largest diameter. Own decision, larger than in screening: the
largest of a positive screen of NLST is 7 mm at the most in 64 % (Gierada et al. 2014, JNCI 106: dju284)."""


def add_dependent_atelectasis(host: Host, rng: np.random.Generator) -> FloatArray:
    """Make a thin layer of lung along the back denser, as in a patient lying still.

    Args:
        host: the chest; not changed.
        rng: the only source of randomness.

    Returns:
        The new volume in HU.
    """
    lungs = host.lungs > 0
    from_back_mm = (np.cumsum(lungs[:, ::-1], axis=1)[:, ::-1] - 1) * host.spacing_mm[1]
    layer_mm = rng.uniform(3, 9) * (1 + 0.5 * smooth_field(rng, lungs.shape, host.spacing_mm, 30.0))
    share = np.clip(1 - from_back_mm / np.maximum(layer_mm, 0.5), 0, 1) * host.parenchyma
    air_share = np.clip((SOFT_TISSUE_HU - host.volume_hu) / 900, 0, 1)
    return np.asarray(host.volume_hu + (rng.uniform(50, 250) * share * air_share).astype(np.float32))


def add_emphysema(host: Host, rng: np.random.Generator) -> FloatArray:
    """Paint holes into the parenchyma, more towards the apex; arguments and result as above."""
    shape, spacing_mm = host.lungs.shape, host.spacing_mm
    field = smooth_field(rng, shape, spacing_mm, rng.uniform(*EMPHYSEMA_KNOT_MM))
    apical = 1 - 0.9 * basal(host, 1.5).max(axis=1, keepdims=True)
    above = rng.uniform(*EMPHYSEMA_ABOVE)
    weight = np.clip((field - above) / 0.4, 0, 1) * apical * host.parenchyma
    smooth = host.smooth_hu()
    parenchyma = np.clip((-600 - smooth) / 100, 0, 1)
    fall_hu = np.clip(smooth - rng.uniform(*EMPHYSEMA_HU), 0, None)
    return np.asarray(host.volume_hu - (weight * parenchyma * fall_hu).astype(np.float32))


def add_reticulation(host: Host, rng: np.random.Generator) -> FloatArray:
    """Paint a net of fine lines at bases and periphery, as in fibrosis; arguments and result as above."""
    depth_mm = signed_depth_mm(host.lungs > 0, host.spacing_mm)
    near_pleura = np.clip(1 - depth_mm / rng.uniform(*RETICULATION_DEPTH_MM), 0, 1)
    weight = near_pleura * basal(host, rng.uniform(1, 4)) * host.parenchyma
    field = smooth_field(rng, depth_mm.shape, host.spacing_mm, rng.uniform(*RETICULATION_KNOT_MM))
    lines = np.clip(1 - np.abs(field) / 0.3, 0, 1)
    air_share = np.clip((SOFT_TISSUE_HU - host.smooth_hu()) / 900, 0, 1)
    rise_hu = rng.uniform(*RETICULATION_HU) * weight * lines * air_share
    return np.asarray(host.volume_hu + rise_hu.astype(np.float32))


def add_solid_nodules(host: Host, rng: np.random.Generator) -> FloatArray:
    """Paint one to three well-bordered solid nodules anywhere; arguments and result as above."""
    volume_hu = host.volume_hu.copy()
    for centre_mm in centres(host, rng, np.ones((1, 1, 1), np.float32), int(rng.integers(1, 4))):
        radius_mm = nodule_mm(rng, SOLID_NODULE_MM) / 2
        shape_mm, box = blob(host, rng, centre_mm, radius_mm, roughness=float(rng.uniform(0, 0.25)))
        part = host.crop(box, volume_hu)
        lesion = Lesion(Kind.NODULE, float(rng.uniform(0.8, 2.0)), float(rng.uniform(*SOLID_NODULE_HU)))
        weight = lesion_weight(shape_mm, lesion.border_mm, part.lumen) * (part.lungs > 0)
        volume_hu[box] = paint(part, weight, shape_mm, lesion, rng)
    return volume_hu


CONFOUNDERS: dict[Callable[[Host, np.random.Generator], FloatArray], float] = {
    add_dependent_atelectasis: 0.4,
    add_emphysema: 0.15,
    add_reticulation: 0.12,
    add_solid_nodules: 0.25,
}
"""Share of hosts that get each; own decision, in the order of what screening finds. Nodules of at least 4 mm:
28 % of smokers (second round of NLST, Aberle et al. 2013, NEJM 369: 920-931). Emphysema: 20 % of 978 citizens
(Nie et al. 2025, Eur. Radiol. 35: 3823-3832). Reticulation: interstitial abnormalities in 4 to 9 % of smokers
(Hatabu et al. 2020, Lancet Respir. Med. 8: 726-737), here more, to learn from. Dependent atelectasis: no
source."""
