"""Shapes of lesions: depth in mm inside them, positive inside, on a box of the host's grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lungct_research.datasets.arrays import FloatArray, Spacing
from lungct_research.synthesis.fields import axes_mm, smooth_field
from lungct_research.synthesis.lesions.kinds import (
    BAND_DEPTH_MM,
    BAND_LENGTH_MM,
    BAND_MM,
    BUD_MM,
    N_BUDS,
    TREE_REACH_MM,
    TWIG_MM,
)
from lungct_research.synthesis.lesions.painting import Host

Box = tuple[slice, ...]
Point = npt.NDArray[np.floating]
Shape = tuple[FloatArray, Box]
"""Depth in mm inside a lesion and the box of the volume that holds it."""

SURFACE_ROUGHNESS = 0.35
FADE_MM = 8.0
"""Room around a shape for a soft border."""


def blob(
    host: Host,
    rng: np.random.Generator,
    centre_mm: FloatArray,
    radius_mm: float,
    roughness: float = SURFACE_ROUGHNESS,
) -> Shape:
    """Draw a rough ellipsoid.

    Args:
        host: gives the grid.
        rng: source of randomness.
        centre_mm: distance from the grid's first corner along slices, rows, columns.
        radius_mm: mean of the half axes.
        roughness: deviation of the surface in radii.
    """
    radii_mm = radius_mm * rng.uniform(0.6, 1.4, 3)
    box = _box(host, centre_mm, radii_mm.max() * (1 + 2 * roughness) + FADE_MM)
    offsets = _offsets_mm(host.spacing_mm, box, centre_mm)
    level = np.sqrt(sum((offset / radius) ** 2 for offset, radius in zip(offsets, radii_mm, strict=True)))
    rough = roughness * smooth_field(rng, level.shape, host.spacing_mm, max(radius_mm * 0.6, 4.0))
    return ((1 - level + rough) * radius_mm).astype(np.float32), box


def subpleural_line(
    host: Host, rng: np.random.Generator, centre_mm: FloatArray, lung_depth_mm: FloatArray
) -> Shape:
    """Draw a curved line parallel to the pleura.

    Args:
        host: gives the grid.
        rng: source of randomness.
        centre_mm: point beside which the line runs.
        lung_depth_mm: depth below the lungs' surface, on the host's grid.
    """
    length_mm = rng.uniform(*BAND_LENGTH_MM)
    around_mm, box = blob(host, rng, centre_mm, length_mm / 2)
    off_mm = np.abs(lung_depth_mm[box] - rng.uniform(*BAND_DEPTH_MM))
    return np.minimum(rng.uniform(*BAND_MM) / 2 - off_mm, around_mm).astype(np.float32), box


def parenchymal_band(host: Host, rng: np.random.Generator, centre_mm: FloatArray) -> Shape:
    """Draw a thin, slightly bent sheet in any direction."""
    around_mm, box = blob(host, rng, centre_mm, rng.uniform(*BAND_LENGTH_MM) / 2)
    normal = rng.normal(size=3)
    offsets = _offsets_mm(host.spacing_mm, box, centre_mm)
    along = sum(part * offset for part, offset in zip(normal / np.linalg.norm(normal), offsets, strict=True))
    bent = along + 1.5 * smooth_field(rng, around_mm.shape, host.spacing_mm, 15.0)
    return np.minimum(rng.uniform(*BAND_MM) / 2 - np.abs(bent), around_mm).astype(np.float32), box


def tree_in_bud(host: Host, rng: np.random.Generator, centre_mm: FloatArray) -> Shape:
    """Draw twigs that branch from a centre, a nodule at every end."""
    reach_mm = rng.uniform(*TREE_REACH_MM)
    box = _box(host, centre_mm, reach_mm + FADE_MM)
    offsets = _offsets_mm(host.spacing_mm, box, np.asarray(centre_mm))
    joints = [np.zeros(3)]
    twig_mm = rng.uniform(*TWIG_MM) / 2
    depths = []
    for _ in range(int(rng.integers(*N_BUDS))):
        direction = rng.normal(size=3)
        end = direction / np.linalg.norm(direction) * reach_mm * rng.uniform(0.3, 1) ** (1 / 3)
        start = min(joints, key=lambda joint, end=end: float(np.linalg.norm(joint - end)))  # type: ignore[misc]
        joints.append(end)
        depths.append(twig_mm - _distance_to_twig_mm(offsets, start, end))
        to_end = sum((offset - at) ** 2 for offset, at in zip(offsets, end, strict=True))
        depths.append(rng.uniform(*BUD_MM) / 2 - np.sqrt(to_end))
    return np.max(depths, axis=0).astype(np.float32), box


def _distance_to_twig_mm(offsets: list[FloatArray], start: Point, end: Point) -> FloatArray:
    way = end - start
    along = sum((offset - at) * step for offset, at, step in zip(offsets, start, way, strict=True))
    share = np.clip(along / max(float(way @ way), 1e-6), 0, 1)
    parts = zip(offsets, start, way, strict=True)
    return np.asarray(np.sqrt(sum((offset - at - share * step) ** 2 for offset, at, step in parts)))


def _box(host: Host, centre_mm: FloatArray, reach_mm: float) -> Box:
    step = np.asarray(host.spacing_mm)
    low = np.maximum(np.floor((centre_mm - reach_mm) / step), 0).astype(int)
    high = np.minimum(np.ceil((centre_mm + reach_mm) / step), host.lungs.shape).astype(int)
    return tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))


def _offsets_mm(spacing_mm: Spacing, box: Box, centre_mm: FloatArray) -> list[FloatArray]:
    """Return the distances of the voxels from the centre along each axis, shaped to broadcast."""
    axes = axes_mm(tuple(part.stop - part.start for part in box), spacing_mm)
    return [
        axis + part.start * step - at
        for axis, part, step, at in zip(axes, box, spacing_mm, centre_mm, strict=True)
    ]
