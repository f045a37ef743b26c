"""Lung opacities painted into a chest CT in Hounsfield units, with their exact masks.

Ground glass, crazy paving and consolidation raise the density of aerated lung only: vessels, fissures and the
host's noise stay visible, and airway lumens stay open. The mask is where a lesion's weight is at least 0.5.
Kinds follow the Fleischner Society's terms (Hansell et al. 2008, Radiology 246: 697-722), placement the
patterns reported for COVID-19 and other pneumonias (Bai et al. 2020, Radiology 296: E46-E54).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from training.fields import BoolArray, FloatArray, Spacing, axes_mm, signed_depth_mm, smooth_field

SOFT_TISSUE_HU = 40.0
"""Density at which nothing is left to fill with lesion."""

SURFACE_ROUGHNESS = 0.35
PLEURA_MM = 3.0
"""Partly aerated voxels this far outside a lung mask are filled too; the mask itself stays inside."""


class Kind(StrEnum):
    """What a lesion looks like."""

    GROUND_GLASS = "ground_glass"
    CRAZY_PAVING = "crazy_paving"
    CONSOLIDATION = "consolidation"


class Pattern(StrEnum):
    """Which disease the lesions of a chest imitate."""

    COVID = "covid19"
    OTHER = "other_infection"


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


@dataclass(frozen=True)
class Lesion:
    """How one lesion is drawn.

    Attributes:
        border_mm: width over which it fades.
        raise_to_hu: density of normal parenchyma once it is fully affected.
    """

    kind: Kind
    border_mm: float
    raise_to_hu: float


def add_infection(host: Host, rng: np.random.Generator, pattern: Pattern) -> tuple[FloatArray, BoolArray]:
    """Paint a whole infection.

    Args:
        host: the chest; not changed.
        rng: the only source of randomness.
        pattern: COVID-19 or another pneumonia.

    Returns:
        The new volume in HU and the exact mask of all opacities.
    """
    draw = _covid_depths if pattern is Pattern.COVID else _other_depths
    volume_hu = host.volume_hu.copy()
    mask = np.zeros(volume_hu.shape, bool)
    depth_mm = signed_depth_mm(host.lungs > 0, host.spacing_mm)
    for shape_mm, box, kind in draw(host, rng, depth_mm):
        lesion = _lesion(rng, kind)
        part = _crop(host, box, volume_hu)
        weight = np.clip(0.5 + shape_mm / lesion.border_mm, 0, 1) * ~part.lumen
        volume_hu[box] = _raise_density(part, weight * (depth_mm[box] > -PLEURA_MM), lesion, rng)
        mask[box] |= (weight >= 0.5) & (part.lungs > 0)
    return volume_hu, mask


def add_dependent_atelectasis(host: Host, rng: np.random.Generator) -> FloatArray:
    """Denser lung in a thin layer along the back, as in a patient lying still: not an opacity.

    Args:
        host: the chest; not changed.
        rng: the only source of randomness.

    Returns:
        The new volume in HU.
    """
    lungs = host.lungs > 0
    from_back_mm = (np.cumsum(lungs[:, ::-1], axis=1)[:, ::-1] - 1) * host.spacing_mm[1]
    layer_mm = rng.uniform(3, 9) * (1 + 0.5 * smooth_field(rng, lungs.shape, host.spacing_mm, 30.0))
    share = np.clip(1 - from_back_mm / np.maximum(layer_mm, 0.5), 0, 1) * (lungs & ~host.lumen)
    air_share = np.clip((SOFT_TISSUE_HU - host.volume_hu) / 900, 0, 1)
    return host.volume_hu + (rng.uniform(50, 250) * share * air_share).astype(np.float32)


def _crop(host: Host, box: tuple[slice, ...], volume_hu: FloatArray) -> Host:
    return Host(volume_hu[box], host.lungs[box], host.lumen[box], host.spacing_mm)


def _lesion(rng: np.random.Generator, kind: Kind) -> Lesion:
    if kind is Kind.CONSOLIDATION:
        return Lesion(kind, float(rng.uniform(1.0, 5.0)), float(rng.uniform(-120, 60)))
    return Lesion(kind, float(rng.uniform(2.0, 12.0)), float(rng.uniform(-700, -350)))


def _raise_density(host: Host, weight: FloatArray, lesion: Lesion, rng: np.random.Generator) -> FloatArray:
    """Fill air: the denser a voxel already is, the less it changes, so noise and vessels stay."""
    smooth = ndimage.gaussian_filter(host.volume_hu, [0.8 / step for step in host.spacing_mm])
    aerated = smooth[(host.lungs > 0) & ~host.lumen]
    normal_hu = float(np.percentile(aerated, 25)) if aerated.size else -850.0
    air_share = np.clip((SOFT_TISSUE_HU - smooth) / (SOFT_TISSUE_HU - normal_hu), 0, 1)
    gain_hu = np.full(weight.shape, max(lesion.raise_to_hu - normal_hu, 120.0), np.float32)
    shape, spacing_mm = weight.shape, host.spacing_mm
    gain_hu += rng.uniform(10, 40) * smooth_field(rng, shape, spacing_mm, 12.0)
    if lesion.kind is Kind.CRAZY_PAVING:
        septa = np.abs(smooth_field(rng, shape, spacing_mm, rng.uniform(5, 9))) < 0.15
        gain_hu += septa * rng.uniform(100, 250)
    return host.volume_hu + (weight * air_share * gain_hu).astype(np.float32)


def _covid_depths(host: Host, rng: np.random.Generator, depth_mm: FloatArray):
    """Many lesions in both lungs, mostly subpleural and basal; yields (depth in mm, box, kind)."""
    preference = np.exp(-np.clip(depth_mm, 0, None) / rng.uniform(6, 25)) * _basal(host, rng.uniform(0, 3))
    late = rng.random()
    radius_mm = rng.uniform(8, 35)
    for centre in _centres(host, rng, preference, int(rng.integers(3, 16))):
        kind = Kind.CONSOLIDATION if rng.random() < 0.5 * late else _hazy(rng)
        yield (*_blob(host, rng, centre, float(radius_mm * rng.lognormal(0, 0.35))), kind)


def _other_depths(host: Host, rng: np.random.Generator, depth_mm: FloatArray):
    """A lobar consolidation with a hazy rim, or patches of bronchopneumonia, often in one lung only."""
    side = _side(host, rng.integers(2)) if rng.random() < 0.7 else np.ones(host.lungs.shape, bool)
    if rng.random() < 0.5:
        yield from _lobar(host, rng, side)
        return
    preference = side * _basal(host, rng.uniform(0, 2)) * np.clip(depth_mm / 15, 0.2, 1)
    for centre in _centres(host, rng, preference, int(rng.integers(4, 18))):
        kind = Kind.CONSOLIDATION if rng.random() < 0.65 else Kind.GROUND_GLASS
        yield (*_blob(host, rng, centre, float(rng.lognormal(np.log(9), 0.5))), kind)


def _lobar(host: Host, rng: np.random.Generator, side: BoolArray):
    """Fill a lobe (or a wedge of a lung without lobes) from a plane on."""
    labels = np.unique(host.lungs[side & (host.lungs > 0)])
    lobe = (host.lungs == rng.choice(labels)) & side
    everywhere = tuple(slice(0, n) for n in lobe.shape)
    direction = rng.normal(size=3)
    along = sum(
        part * axis for part, axis in zip(direction, axes_mm(lobe.shape, host.spacing_mm), strict=True)
    )
    along = along / np.linalg.norm(direction) + 8 * smooth_field(rng, lobe.shape, host.spacing_mm, 25.0)
    share = rng.uniform(0.25, 0.95) if len(labels) > 1 else rng.uniform(0.1, 0.35)
    front = float(np.quantile(along[lobe], 1 - share))
    inside_mm = np.minimum(along - front, np.where(lobe, 50.0, -50.0)).astype(np.float32)
    if rng.random() < 0.7:
        yield inside_mm + rng.uniform(4, 15), everywhere, Kind.GROUND_GLASS
    yield inside_mm, everywhere, Kind.CONSOLIDATION


def _hazy(rng: np.random.Generator) -> Kind:
    return Kind.CRAZY_PAVING if rng.random() < 0.3 else Kind.GROUND_GLASS


def _basal(host: Host, strength: float) -> FloatArray:
    """1 at the base of the lungs, falling towards the apex and to the front, ``[slices, rows, 1]``."""
    lungs = host.lungs > 0
    low, high = np.flatnonzero(lungs.any((1, 2)))[[0, -1]]
    front, back = np.flatnonzero(lungs.any((0, 2)))[[0, -1]]
    height = (np.arange(lungs.shape[0]) - low) / max(high - low, 1)
    forward = (back - np.arange(lungs.shape[1])) / max(back - front, 1)
    return np.exp(-strength * height)[:, None, None] * np.exp(-0.5 * strength * forward)[None, :, None]


def _side(host: Host, left: int) -> BoolArray:
    """Voxels of the left (1) or right (0) half of the lungs' extent."""
    first, last = np.flatnonzero((host.lungs > 0).any((0, 1)))[[0, -1]]
    is_left = np.arange(host.lungs.shape[2]) > (first + last) / 2
    return np.broadcast_to(is_left == bool(left), host.lungs.shape)


def _centres(host: Host, rng: np.random.Generator, preference: FloatArray, n: int) -> list[FloatArray]:
    """``n`` lung voxels drawn by preference, as positions in mm."""
    candidates = np.flatnonzero(host.lungs)
    candidates = rng.choice(candidates, min(20_000, len(candidates)), replace=False)
    weights = np.broadcast_to(preference, host.lungs.shape).ravel()[candidates].astype(float) + 1e-9
    chosen = rng.choice(candidates, n, p=weights / weights.sum())
    at = np.stack(np.unravel_index(chosen, host.lungs.shape), axis=1)
    return list((at + 0.5) * np.asarray(host.spacing_mm))


def _blob(
    host: Host, rng: np.random.Generator, centre_mm: FloatArray, radius_mm: float
) -> tuple[FloatArray, tuple[slice, ...]]:
    """Depth in mm inside a rough ellipsoid, and the box of the volume that holds it."""
    radii_mm = radius_mm * rng.uniform(0.6, 1.4, 3)
    reach_mm = radii_mm.max() * (1 + 2 * SURFACE_ROUGHNESS) + 8
    step = np.asarray(host.spacing_mm)
    low = np.maximum(np.floor((centre_mm - reach_mm) / step), 0).astype(int)
    high = np.minimum(np.ceil((centre_mm + reach_mm) / step), host.lungs.shape).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    shape = tuple((high - low).tolist())
    offsets = [
        axis + first * s - at
        for axis, first, s, at in zip(axes_mm(shape, host.spacing_mm), low, step, centre_mm, strict=True)
    ]
    level = np.sqrt(sum((offset / radius) ** 2 for offset, radius in zip(offsets, radii_mm, strict=True)))
    rough = SURFACE_ROUGHNESS * smooth_field(rng, shape, host.spacing_mm, max(radius_mm * 0.6, 4.0))
    return ((1 - level + rough) * radius_mm).astype(np.float32), box
