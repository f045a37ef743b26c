"""What a scanner makes of a synthetic body: slices of some thickness, a kernel, motion and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lungct_research.datasets.arrays import FloatArray, Spacing

OVERSHOOT = (0.2, 0.9)
GRAIN_VOXELS = (0.0, 0.8)
MOTION_SHARE = 0.15
MOTION_MM = (2.0, 8.0)
HU_RANGE = (-1100.0, 1500.0)
BOX_TO_SIGMA = 12**-0.5
"""Deviation of a box of width 1: a slice profile as a Gaussian of the same width."""


@dataclass(frozen=True)
class Protocol:
    """From which settings a scanner draws.

    Attributes:
        thickness_mm: of slices.
        kernel_mm: deviation of its blur.
        sharp_share: how often edges are enhanced.
        noise_hu: deviation.
    """

    thickness_mm: tuple[float, float] = (0.6, 5.0)
    kernel_mm: tuple[float, float] = (0.4, 1.1)
    sharp_share: float = 0.4
    noise_hu: tuple[float, float] = (4.0, 45.0)


ANY_PROTOCOL = Protocol()


def scan(
    volume_hu: FloatArray, rng: np.random.Generator, spacing_mm: Spacing, protocol: Protocol = ANY_PROTOCOL
) -> FloatArray:
    """The CT of a body.

    Args:
        volume_hu: ``[slices, rows, columns]``, axes S, P, L.
        rng: the only source of randomness.
        spacing_mm: of the three axes; finer slices than these cannot be told apart.
        protocol: what kind of CT.
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
    """The lower third seen twice, as after a breath: averaged with itself some millimetres away."""
    shift = max(1, round(rng.uniform(*MOTION_MM) / slice_mm))
    away = np.roll(volume_hu, shift, axis=0)
    away[:shift] = volume_hu[:shift]
    height = np.linspace(0, 1, len(volume_hu), dtype=np.float32)
    share = 0.5 * np.clip((0.5 - height) / 0.2, 0, 1)
    return np.asarray(volume_hu + share[:, None, None] * (away - volume_hu), np.float32)
