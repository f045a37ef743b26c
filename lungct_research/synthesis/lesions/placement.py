"""Places of lesions in a chest, by the disease they imitate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lungct_research.datasets.arrays import BoolArray, FloatArray
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.fields import axes_mm, signed_depth_mm, smooth_field
from lungct_research.synthesis.lesions import shapes
from lungct_research.synthesis.lesions.kinds import NODULE_MM, Kind, draw_kinds
from lungct_research.synthesis.lesions.painting import PLEURA_MM, Host
from lungct_research.synthesis.lesions.shapes import Box

PERIPHERAL_SHARE = {Disease.COVID19: 0.8, Disease.OTHER_INFECTION: 0.57}
"""Share of patients whose lesions lie at the periphery (Bai et al. 2020); in the others they lie anywhere."""

ONE_SIDED_SHARE = 0.7
LOBAR_SHARE = 0.5
"""Shares of other infections; own decision, in the order of pneumococcal pneumonia: one-sided in 25 of 39
patients (Intern. Med. 2012, 51), lobar in 42 of 88 (PMC4273967)."""

BASAL = {Disease.COVID19: (0.0, 3.0), Disease.OTHER_INFECTION: (0.0, 2.0)}
"""Exponents by which bases and back are preferred, an own decision: of patients with COVID-19, 87 and 81 %
have lesions in the right and left lower lobe (Bao et al. 2020, J. Am. Coll. Radiol. 17: 701-709), 82 %
posterior ones (PMC7355135)."""

Placed = tuple[Kind, FloatArray, Box]
"""Kind of a lesion, depth in mm inside it, and the box of the volume that holds it."""


def place_lesions(
    host: Host,
    rng: np.random.Generator,
    disease: Disease,
    lung_depth_mm: FloatArray,
    only: Kind | None = None,
) -> list[Placed]:
    """Draw all lesions of one patient, those that cover others last.

    Args:
        host: the chest.
        rng: source of randomness.
        disease: decides number, kinds and places.
        lung_depth_mm: depth below the surface of the lungs, on the host's grid.
        only: the one kind of all lesions; no lobe is filled then.
    """
    if disease is Disease.OTHER_INFECTION:
        side = _side(host, int(rng.integers(2))) if rng.random() < ONE_SIDED_SHARE else host.lungs > 0
        if only is None and rng.random() < LOBAR_SHARE:
            return list(_lobar(host, rng, side))
        n, radius_mm, spread = int(rng.integers(4, 18)), 9.0, 0.5
    else:
        side, spread = host.lungs > 0, 0.35
        n, radius_mm = int(rng.integers(3, 16)), float(rng.uniform(8, 35))
    preference = side * basal(host, rng.uniform(*BASAL[disease]))
    if rng.random() < PERIPHERAL_SHARE[disease]:
        preference = preference * np.exp(-np.clip(lung_depth_mm, 0, None) / rng.uniform(6, 25))
    kinds = draw_kinds(rng, disease, n) if only is None else [only] * n
    spots = zip(kinds, centres(host, rng, preference, n), strict=True)
    placed = [
        (kind, *_shape(host, rng, kind, at, radius_mm * rng.lognormal(0, spread), lung_depth_mm))
        for kind, at in spots
    ]
    return sorted(placed, key=lambda lesion: lesion[0].label)


def _shape(
    host: Host,
    rng: np.random.Generator,
    kind: Kind,
    centre_mm: FloatArray,
    radius_mm: float,
    lung_depth_mm: FloatArray,
) -> shapes.Shape:
    if kind is Kind.BAND and rng.random() < 0.5:
        return shapes.subpleural_line(host, rng, centre_mm, lung_depth_mm)
    if kind is Kind.BAND:
        return shapes.parenchymal_band(host, rng, centre_mm)
    if kind is Kind.TREE_IN_BUD:
        return shapes.tree_in_bud(host, rng, centre_mm)
    if kind is Kind.NODULE:
        return shapes.blob(host, rng, centre_mm, nodule_mm(rng) / 2, roughness=0.1)
    if kind is Kind.REVERSED_HALO:
        return shapes.blob(host, rng, centre_mm, max(radius_mm, 8.0), roughness=0.2)
    return shapes.blob(host, rng, centre_mm, radius_mm)


def nodule_mm(rng: np.random.Generator, sizes: tuple[float, float, float, float] = NODULE_MM) -> float:
    """Draw the diameter of a nodule.

    Args:
        rng: source of randomness.
        sizes: median, logarithmic deviation, smallest and largest diameter in mm.
    """
    median_mm, spread, smallest_mm, largest_mm = sizes
    return float(np.clip(rng.lognormal(np.log(median_mm), spread), smallest_mm, largest_mm))


def _lobar(host: Host, rng: np.random.Generator, side: BoolArray) -> Iterator[Placed]:
    """Fill a lobe (or a wedge of a lung without lobes) from a plane on, often behind a hazy rim.

    The shape reaches over the pleura, lest a seam of half-aerated voxels betray the painting.
    """
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
    beside = (host.lungs == 0) & (signed_depth_mm(lobe, host.spacing_mm) > -PLEURA_MM)
    inside_mm = np.minimum(along - front, np.where(lobe | beside, 50.0, -50.0)).astype(np.float32)
    if rng.random() < 0.7:
        yield Kind.GROUND_GLASS, inside_mm + rng.uniform(4, 15), everywhere
    yield Kind.CONSOLIDATION, inside_mm, everywhere


def basal(host: Host, strength: float) -> FloatArray:
    """Return 1 at the base of the lungs, falling towards apex and front, ``[slices, rows, 1]``."""
    lungs = host.lungs > 0
    low, high = np.flatnonzero(lungs.any((1, 2)))[[0, -1]]
    front, back = np.flatnonzero(lungs.any((0, 2)))[[0, -1]]
    height = (np.arange(lungs.shape[0]) - low) / max(high - low, 1)
    forward = (back - np.arange(lungs.shape[1])) / max(back - front, 1)
    downward, backward = np.exp(-strength * height), np.exp(-0.5 * strength * forward)
    return np.asarray(downward[:, None, None] * backward[None, :, None])


def _side(host: Host, left: int) -> BoolArray:
    """Mark the left (1) or right (0) half of the extent of the lungs."""
    first, last = np.flatnonzero((host.lungs > 0).any((0, 1)))[[0, -1]]
    is_left = np.arange(host.lungs.shape[2]) > (first + last) / 2
    return np.broadcast_to(is_left == bool(left), host.lungs.shape)


def centres(host: Host, rng: np.random.Generator, preference: FloatArray, n: int) -> list[FloatArray]:
    """Draw ``n`` lung voxels by preference; return their positions in mm."""
    candidates = np.flatnonzero(host.lungs)
    candidates = rng.choice(candidates, min(20_000, len(candidates)), replace=False)
    weights = np.broadcast_to(preference, host.lungs.shape).ravel()[candidates].astype(float) + 1e-9
    chosen = rng.choice(candidates, n, p=weights / weights.sum())
    at = np.stack(np.unravel_index(chosen, host.lungs.shape), axis=1)
    return list((at + 0.5) * np.asarray(host.spacing_mm))
