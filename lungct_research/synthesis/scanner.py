"""Two scanners: of synthetic bodies, with settings drawn at random, and of phantoms, with a chosen kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lungct_research.datasets.arrays import FloatArray, Spacing

OVERSHOOT = (0.2, 0.9)
GRAIN_VOXELS = (0.0, 0.8)
MOTION_SHARE = 0.15
MOTION_MM = (2.0, 8.0)
HU_RANGE = (-1100.0, 1500.0)
BOX_TO_SIGMA = 12**-0.5
"""Deviation of a box of width 1: a slice profile as a Gaussian of the same width."""

Kernel = Literal["soft", "standard", "sharp"]
PHANTOM_HU_RANGE = (-1024, 3071)
PHANTOM_NOISE_HU = (6.0, 22.0)
BLUR_MM: dict[Kernel, float] = {"soft": 1.1, "standard": 0.75, "sharp": 0.45}
GRAIN_MM: dict[Kernel, float] = {"soft": 1.0, "standard": 0.65, "sharp": 0.3}
MIN_BLUR_VOXELS = 0.4
SHARP_OVERSHOOT = 0.5
SHOULDER_NOISE = 0.8
"""Noise that the shoulders add in the top fifth of a phantom, as a part of the noise below; own decision, as
all numbers of this module."""


@dataclass(frozen=True)
class Protocol:
    """Settings that a scanner draws from.

    Attributes:
        thickness_mm: least and greatest thickness of slices.
        kernel_mm: least and greatest deviation of the blur.
        sharp_share: how often edges are enhanced.
        noise_hu: least and greatest deviation of the noise.
    """

    thickness_mm: tuple[float, float] = (0.6, 5.0)
    kernel_mm: tuple[float, float] = (0.4, 1.1)
    sharp_share: float = 0.4
    noise_hu: tuple[float, float] = (4.0, 45.0)


ANY_PROTOCOL = Protocol()


def scan(
    volume_hu: FloatArray, rng: np.random.Generator, spacing_mm: Spacing, protocol: Protocol = ANY_PROTOCOL
) -> FloatArray:
    """Return the CT of a body in HU.

    Args:
        volume_hu: ``[slices, rows, columns]``, axes S, P, L.
        rng: the only source of randomness.
        spacing_mm: distance of the voxels along the three axes.
        protocol: settings to draw from.
    """
    if rng.random() < MOTION_SHARE:
        volume_hu = _moved(volume_hu, rng, spacing_mm[0])
    kernel_mm = rng.uniform(*protocol.kernel_mm)
    thickness_mm = rng.uniform(*protocol.thickness_mm)
    sigma_mm = (float(np.hypot(kernel_mm, BOX_TO_SIGMA * thickness_mm)), kernel_mm, kernel_mm)
    seen = ndimage.gaussian_filter(volume_hu, np.divide(sigma_mm, spacing_mm))
    if rng.random() < protocol.sharp_share:
        wider = ndimage.gaussian_filter(seen, [0.0, *(2 * kernel_mm / step for step in spacing_mm[1:])])
        seen += np.float32(rng.uniform(*OVERSHOOT)) * (seen - wider)
    noise = rng.standard_normal(seen.shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, rng.uniform(*GRAIN_VOXELS))
    noise *= rng.uniform(*protocol.noise_hu) / max(float(noise.std()), 1e-6)
    return np.asarray(np.clip(seen + noise, *HU_RANGE), np.float32)


def _moved(volume_hu: FloatArray, rng: np.random.Generator, slice_mm: float) -> FloatArray:
    """Average the lower third with itself some millimetres away, as after a breath."""
    shift = max(1, round(rng.uniform(*MOTION_MM) / slice_mm))
    away = np.roll(volume_hu, shift, axis=0)
    away[:shift] = volume_hu[:shift]
    height = np.linspace(0, 1, len(volume_hu), dtype=np.float32)
    share = 0.5 * np.clip((0.5 - height) / 0.2, 0, 1)
    return np.asarray(volume_hu + share[:, None, None] * (away - volume_hu), np.float32)


def scan_phantom(
    volume: FloatArray,
    spacing_mm: Spacing,
    kernel: Kernel,
    noise_hu: float | None,
    rng: np.random.Generator,
) -> npt.NDArray[np.int16]:
    """Return the CT of a phantom in HU.

    Args:
        volume: true densities in HU, ``[slices, rows, columns]``, slice 0 most caudal.
        spacing_mm: along (slices, rows, columns).
        kernel: ``sharp`` blurs least, overshoots at edges and has the finest noise.
        noise_hu: standard deviation below the shoulders; drawn where None.
        rng: source of the noise.
    """
    blur = [max(BLUR_MM[kernel] / step, MIN_BLUR_VOXELS) for step in spacing_mm]
    seen = ndimage.gaussian_filter(volume, blur, truncate=2.5)
    if kernel == "sharp":
        wider = ndimage.gaussian_filter(seen, [2 * sigma for sigma in blur], truncate=2.0)
        seen += np.float32(SHARP_OVERSHOOT) * (seen - wider)
    level = float(rng.uniform(*PHANTOM_NOISE_HU)) if noise_hu is None else noise_hu
    if level > 0:
        seen += level * _noise(seen.shape, [GRAIN_MM[kernel] / step for step in spacing_mm], rng)
    return np.asarray(np.clip(np.rint(seen), *PHANTOM_HU_RANGE), np.int16)


def _noise(shape: tuple[int, ...], grain_voxels: list[float], rng: np.random.Generator) -> FloatArray:
    """Draw correlated noise of unit deviation, stronger in the top fifth, where the shoulders are."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, grain_voxels, truncate=2.5)
    height = np.linspace(0, 1, shape[0], dtype=np.float32)
    shoulders = 1 + SHOULDER_NOISE / (1 + np.exp(-(height - 0.82) / 0.05))
    return np.asarray(noise * (shoulders / noise.std())[:, None, None], np.float32)
