"""The scanner: blur of the reconstruction kernel, correlated noise, rounding."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lungct_research.datasets.arrays import FloatArray

Kernel = Literal["soft", "standard", "sharp"]

HU_RANGE = (-1024, 3071)
NOISE_HU = (6.0, 22.0)
BLUR_MM: dict[Kernel, float] = {"soft": 1.1, "standard": 0.75, "sharp": 0.45}
GRAIN_MM: dict[Kernel, float] = {"soft": 1.0, "standard": 0.65, "sharp": 0.3}
MIN_BLUR_VOXELS = 0.4
OVERSHOOT = 0.5
SHOULDER_NOISE = 0.8


def scan(
    volume: FloatArray,
    spacing_mm: tuple[float, float, float],
    kernel: Kernel,
    noise_hu: float | None,
    rng: np.random.Generator,
) -> npt.NDArray[np.int16]:
    """The CT of the Hounsfield units ``volume`` ``[slices, rows, columns]``, slice 0 most caudal.

    Args:
        volume: true densities, one value a voxel.
        spacing_mm: along (slices, rows, columns).
        kernel: ``sharp`` blurs least, overshoots at edges and has the finest noise.
        noise_hu: standard deviation below the shoulders; drawn where None.
        rng: source of the noise.
    """
    blur = [max(BLUR_MM[kernel] / step, MIN_BLUR_VOXELS) for step in spacing_mm]
    seen = ndimage.gaussian_filter(volume, blur, truncate=2.5)
    if kernel == "sharp":
        wider = ndimage.gaussian_filter(seen, [2 * sigma for sigma in blur], truncate=2.0)
        seen += np.float32(OVERSHOOT) * (seen - wider)
    level = float(rng.uniform(*NOISE_HU)) if noise_hu is None else noise_hu
    if level > 0:
        seen += level * _noise(seen.shape, [GRAIN_MM[kernel] / step for step in spacing_mm], rng)
    return np.asarray(np.clip(np.rint(seen), *HU_RANGE), np.int16)


def _noise(shape: tuple[int, ...], grain_voxels: list[float], rng: np.random.Generator) -> FloatArray:
    """Correlated noise of unit deviation, stronger in the top fifth, where the shoulders are."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, grain_voxels, truncate=2.5)
    height = np.linspace(0, 1, shape[0], dtype=np.float32)
    shoulders = 1 + SHOULDER_NOISE / (1 + np.exp(-(height - 0.82) / 0.05))
    return np.asarray(noise * (shoulders / noise.std())[:, None, None], np.float32)
