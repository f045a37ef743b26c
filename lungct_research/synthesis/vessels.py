"""Pulmonary vessels for anatomies of real patients: arteries and veins, grown from hilum to periphery."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lungct_research.datasets.arrays import BoolArray, FloatArray, Spacing
from lungct_research.synthesis.fields import axes_mm
from lungct_research.synthesis.phantom.fields import Grid
from lungct_research.synthesis.phantom.trees import cover, grow

ML_PER_TIP = (1.6, 3.5)
CALIBRE = (0.8, 1.3)
"""Factor on the phantom's vessels, whose tips have a radius of 0.48 mm; own decision."""

TIP_DEPTH_MM = 3.0
"""Distance from pleura and fissure at which vessels end; own decision."""

ROOT_JITTER_MM = 6.0

Points = npt.NDArray[np.float64]


def vessel_share(
    rng: np.random.Generator,
    lobes: npt.NDArray[np.uint8],
    airways: BoolArray,
    near_edge_mm: FloatArray,
    spacing_mm: Spacing,
) -> FloatArray:
    """Draw vessels; return the share of each voxel that they fill, 0 to 1.

    Args:
        rng: the only source of randomness.
        lobes: ``[slices, rows, columns]``, labels; vessels of a lobe stay in it.
        airways: the vessels of a lobe begin where it comes nearest to the main bronchi.
        near_edge_mm: distance to the lobe's edge.
        spacing_mm: distance of the voxels along the three axes.
    """
    share = np.zeros(lobes.shape, np.float32)
    grid = Grid(*(axis.ravel() for axis in axes_mm(lobes.shape, spacing_mm)))
    calibre = float(rng.uniform(*CALIBRE))
    hilum = _positions(airways & (lobes == 0), spacing_mm) if (airways & (lobes == 0)).any() else None
    for label in np.unique(lobes[lobes > 0]):
        lobe = lobes == label
        tips = _tips(rng, lobe & (near_edge_mm > TIP_DEPTH_MM), lobe, spacing_mm)
        root = _root(rng, lobe, hilum, spacing_mm)
        tubes = [
            branch.capsule(calibre)
            for half in np.array_split(tips, 2)
            for branch in grow(root + rng.normal(0, ROOT_JITTER_MM / 2, 3), half, rng)
        ]
        cover(share, grid, tubes, lobe)
    return share


def _positions(mask: BoolArray, spacing_mm: Spacing) -> Points:
    return np.asarray((np.argwhere(mask) + 0.5) * spacing_mm)


def _tips(rng: np.random.Generator, deep: BoolArray, lobe: BoolArray, spacing_mm: Spacing) -> Points:
    """Draw at least four points deep in the lobe."""
    spots = _positions(deep if np.count_nonzero(deep) >= 4 else lobe, spacing_mm)
    lobe_ml = np.count_nonzero(lobe) * float(np.prod(spacing_mm)) / 1000
    count = max(round(2 * lobe_ml / rng.uniform(*ML_PER_TIP)), 4)
    return spots[rng.choice(len(spots), count)] + rng.uniform(-0.5, 0.5, (count, 3)) * spacing_mm


def _root(rng: np.random.Generator, lobe: BoolArray, hilum: Points | None, spacing_mm: Spacing) -> Points:
    """Return the point of the lobe nearest to the lower end of the airways outside the lungs."""
    spots = _positions(lobe, spacing_mm)
    low = hilum[hilum[:, 0] < np.quantile(hilum[:, 0], 0.3)].mean(axis=0) if hilum is not None else None
    nearest = spots[np.linalg.norm(spots - low, axis=1).argmin()] if low is not None else spots.mean(axis=0)
    return np.asarray(nearest + rng.normal(0, ROOT_JITTER_MM / 2, 3))
