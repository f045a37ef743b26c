"""A chest drawn with few lines, of which every voxel is known."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lungct.records import CtVolume, Lobe

WALL_HU, LUNG_HU, AIR_HU = 0, -860, -1000
NOISE_HU = 15.0


def volume_of(volume_hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> CtVolume:
    return CtVolume(volume_hu, np.diag([*spacing_mm, 1.0])[[2, 1, 0, 3]])


def tube(shape: tuple[int, ...], start: tuple[float, ...], end: tuple[float, ...]) -> np.ndarray:
    """Distance of every voxel to a line, in voxels."""
    points = np.moveaxis(np.indices(shape), 0, -1) - np.array(start)
    line = np.subtract(end, start)
    along = np.clip(points @ line / (line @ line), 0, 1)
    return np.linalg.norm(points - along[..., None] * line, axis=-1)


def drawn_chest(gap: slice | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tissue with two lungs, a trachea that forks, and one bronchus in the right lung; 1.5 mm even voxels.

    ``gap`` takes the wall of the bronchus away in those columns. Returned are HU, lobes and the lumen.
    """
    shape = (90, 70, 110)
    volume_hu = np.full(shape, 40, np.float32)
    lobes = np.zeros(shape, np.uint8)
    lobes[5:70, 12:58, 8:44] = Lobe.RIGHT_UPPER.label
    lobes[5:70, 12:58, 66:102] = Lobe.LEFT_UPPER.label
    volume_hu[lobes > 0] = LUNG_HU
    trachea = tube(shape, (89, 35, 55), (50, 35, 55))
    right, left = tube(shape, (50, 35, 55), (36, 35, 42)), tube(shape, (50, 35, 55), (36, 35, 68))
    bronchus = tube(shape, (36, 35, 42), (24, 35, 14))
    wall = (right < 5.5) | (left < 5.5) | (bronchus < 3.6)
    if gap is not None:
        wall[..., gap] = False
    volume_hu[wall] = WALL_HU
    lumen = (trachea < 5.5) | (right < 4) | (left < 4) | (bronchus < 2)
    volume_hu[lumen] = AIR_HU
    noise = np.random.default_rng(0).normal(0, NOISE_HU, shape)
    return (ndimage.gaussian_filter(volume_hu, 0.5) + noise).astype(np.int16), lobes, lumen
