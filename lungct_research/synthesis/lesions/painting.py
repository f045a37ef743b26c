"""Lesions blended into a chest: air is filled, vessels, open airways and the host's noise stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lungct_research.datasets.arrays import BoolArray, FloatArray, Spacing
from lungct_research.datasets.densities import DENSE_HU, NORMAL_LUNG_HU, SEPTA_HU, SOFT_TISSUE_HU
from lungct_research.synthesis.fields import blur, smooth_field
from lungct_research.synthesis.lesions.kinds import (
    RING_COMPLETE,
    SEPTA_HALF_WIDTH,
    SEPTA_KNOT_MM,
    Kind,
    Lesion,
)

NOISE_BAND_HU = 60.0
"""Range above normal parenchyma that counts as fully aerated, so that these voxels all rise alike and the
host's noise stays; own decision, above the noise of most chest CTs after the smoothing below."""

SMOOTHING_MM = 0.8
LEAST_RISE_HU = 120.0
"""Least rise of a lesion; own decision: a reader would not label a fainter one."""

PLEURA_MM = 3.0
"""Reach outside a lung mask in which partly aerated voxels are filled too; the mask itself stays inside."""


@dataclass(frozen=True, eq=False)
class Host:
    """A chest to paint into.

    Attributes:
        volume_hu: ``[slices, rows, columns]`` float32, axes S, P, L.
        lungs: lobe labels, or 1 inside the lungs where lobes are unknown.
        lumen: airways, which stay open.
        spacing_mm: along slices, rows, columns.
    """

    volume_hu: FloatArray
    lungs: npt.NDArray[np.uint8]
    lumen: BoolArray
    spacing_mm: Spacing

    @property
    def parenchyma(self) -> BoolArray:
        """Mark the lungs without open airways."""
        return (self.lungs > 0) & ~self.lumen

    def smooth_hu(self) -> FloatArray:
        """Return the volume without its noise."""
        return blur(self.volume_hu, SMOOTHING_MM, self.spacing_mm)

    def crop(self, box: tuple[slice, ...], volume_hu: FloatArray) -> Host:
        """Return the part of the host in a box, with another volume on the host's grid."""
        return Host(volume_hu[box], self.lungs[box], self.lumen[box], self.spacing_mm)


def lesion_weight(shape_mm: FloatArray, border_mm: float, lumen: BoolArray) -> FloatArray:
    """Return the share of each voxel that is lesion: 0.5 on the surface, 0 or 1 half a border away from it.

    Args:
        shape_mm: depth inside the lesion, negative outside.
        border_mm: width over which it fades.
        lumen: airways, of the same shape; the share is 0 there.
    """
    return np.asarray(np.clip(0.5 + shape_mm / border_mm, 0, 1) * ~lumen, np.float32)


def paint(
    host: Host, weight: FloatArray, shape_mm: FloatArray, lesion: Lesion, rng: np.random.Generator
) -> FloatArray:
    """Return the volume of the host in HU with one lesion; where the weight is 0 it is unchanged.

    Only a smoothed copy of the host decides how much a voxel rises: its noise is carried over unchanged.

    Args:
        host: what lies around the lesion.
        weight: share of each voxel that is lesion, on the host's grid.
        shape_mm: depth inside the lesion.
        lesion: how it looks.
        rng: source of its inner texture.
    """
    smooth = host.smooth_hu()
    normal_hu = _parenchyma_hu(smooth[host.parenchyma])
    rise_hu = np.maximum(_target_hu(host, shape_mm, lesion, rng) - normal_hu, LEAST_RISE_HU)
    room_hu = np.clip(SOFT_TISSUE_HU - smooth, 0, None)
    if lesion.is_additive:
        change_hu = np.minimum(rise_hu, room_hu)
    else:
        aerated_hu = SOFT_TISSUE_HU - normal_hu - NOISE_BAND_HU
        change_hu = rise_hu * np.clip(room_hu / max(aerated_hu, 1.0), 0, 1)
    return np.asarray(host.volume_hu + (weight * change_hu).astype(np.float32))


def _parenchyma_hu(smooth_hu: FloatArray) -> float:
    """Return the median density of aerated lung."""
    aerated = smooth_hu[smooth_hu < -500]
    return float(np.median(aerated)) if aerated.size else NORMAL_LUNG_HU


def _target_hu(host: Host, shape_mm: FloatArray, lesion: Lesion, rng: np.random.Generator) -> FloatArray:
    """Return the density that normal parenchyma gets at every voxel."""
    shape, spacing_mm = shape_mm.shape, host.spacing_mm
    uneven = rng.uniform(10, 40) * smooth_field(rng, shape, spacing_mm, 12.0)
    target_hu = lesion.raise_to_hu + uneven
    if lesion.kind is Kind.CRAZY_PAVING:
        septa = np.abs(smooth_field(rng, shape, spacing_mm, rng.uniform(*SEPTA_KNOT_MM))) < SEPTA_HALF_WIDTH
        target_hu = target_hu + septa * rng.uniform(*SEPTA_HU)
    if lesion.kind is Kind.REVERSED_HALO:
        gaps = smooth_field(rng, shape, spacing_mm, 10.0)
        rim = (shape_mm > 0) & (shape_mm < lesion.ring_mm)
        limit = np.quantile(gaps[rim], RING_COMPLETE) if rim.any() else np.inf
        ring = (shape_mm < lesion.ring_mm) & (gaps < limit)
        target_hu = np.where(ring, rng.uniform(*DENSE_HU), target_hu)
    return target_hu.astype(np.float32)
