"""Smooth random fields and depth maps, with which synthetic chests and lesions are drawn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from lungct_research.datasets.arrays import BoolArray, FloatArray, Spacing

DEPTH_GRID_MM = 4.0
"""Spacing of the grid on which distances are measured, to be interpolated; own decision."""


def resize(volume: npt.NDArray[np.generic], shape: tuple[int, ...], mode: str = "trilinear") -> FloatArray:
    """Resample ``[slices, rows, columns]`` to ``shape``, keeping the extent.

    Args:
        volume: any numeric type.
        shape: wanted number of slices, rows and columns.
        mode: as in ``torch.nn.functional.interpolate``: ``trilinear``, ``area`` or ``nearest``.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(volume, np.float32))[None, None]
    corners = False if mode == "trilinear" else None
    return functional.interpolate(tensor, tuple(shape), mode=mode, align_corners=corners)[0, 0].numpy()


def grid_shape(shape: tuple[int, ...], spacing_mm: Spacing, wanted_mm: float | Spacing) -> tuple[int, ...]:
    """Return how many voxels of the wanted spacing cover the extent of a grid, at least one per axis."""
    wanted = np.broadcast_to(np.asarray(wanted_mm, float), 3)
    extent = np.asarray(shape) * np.asarray(spacing_mm)
    return tuple(int(n) for n in np.maximum(np.round(extent / wanted), 1))


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, ...], spacing_mm: Spacing, knot_mm: float
) -> FloatArray:
    """Draw ``[slices, rows, columns]`` of mean 0 and deviation 1 that changes over about ``knot_mm``."""
    knots = [n + 1 for n in grid_shape(shape, spacing_mm, knot_mm)]
    lattice = resize(rng.standard_normal(knots, dtype=np.float32), tuple(2 * n for n in knots))
    field: FloatArray = resize(ndimage.uniform_filter(lattice, 3), shape)
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), np.float32)


def draw_field(shape: tuple[int, ...], knot_voxels: float, generator: torch.Generator) -> Tensor:
    """Draw ``[slices, rows, columns]`` between normal values at knots, on the generator's device."""
    knots = [max(round(n / knot_voxels), 2) for n in shape]
    values = torch.randn(1, 1, *knots, generator=generator, device=generator.device)
    return functional.interpolate(values, tuple(shape), mode="trilinear", align_corners=True)[0, 0]


def draw_shares(generator: torch.Generator, n: int) -> list[float]:
    """Draw ``n`` numbers between 0 and 1."""
    shares: list[float] = torch.rand(n, generator=generator, device=generator.device).tolist()
    return shares


def signed_depth_mm(mask: BoolArray, spacing_mm: Spacing) -> FloatArray:
    """Measure the depth below the surface of a mask in mm: positive inside, negative outside.

    Args:
        mask: ``[slices, rows, columns]``.
        spacing_mm: along slices, rows, columns.
    """
    coarse_shape = grid_shape(mask.shape, spacing_mm, DEPTH_GRID_MM)
    step_mm = np.asarray(mask.shape) * np.asarray(spacing_mm) / np.asarray(coarse_shape)
    inside = resize(mask, coarse_shape, "area") > 0.5
    if not inside.any():
        return np.full(mask.shape, -1e3, np.float32)
    depth = ndimage.distance_transform_edt(inside, sampling=step_mm)
    depth -= ndimage.distance_transform_edt(~inside, sampling=step_mm)
    half_voxel = np.sign(depth) * float(step_mm.mean()) / 2
    return resize((depth - half_voxel).astype(np.float32), mask.shape)


def blur(volume: FloatArray, sigma_mm: float, spacing_mm: Spacing) -> FloatArray:
    """Smooth a volume with a Gaussian of the same width in mm along all axes."""
    smooth: FloatArray = ndimage.gaussian_filter(volume, [sigma_mm / step for step in spacing_mm])
    return smooth


def axes_mm(shape: tuple[int, ...], spacing_mm: Spacing) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return voxel centres in mm from the first corner, shaped to broadcast over the volume."""
    z, y, x = (
        ((np.arange(n) + 0.5) * step).astype(np.float32) for n, step in zip(shape, spacing_mm, strict=True)
    )
    return z[:, None, None], y[None, :, None], x[None, None, :]
