"""The input of the networks: window, size, lung mask and contrast, as pure functions on torch tensors.

Everything runs on the device the tensors live on. Source: Topff et al. 2023, PLoS ONE 18(5): e0285121, "Image
preprocessing"; BCET: Guo 1991, "Balance contrast enhancement technique and its application in image colour
composition", Int. J. Remote Sensing 12(10): 2133-2151.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.dlpack import from_dlpack

WINDOW_LEVEL_HU = -500.0
WINDOW_WIDTH_HU = 1500.0
CLASSIFIER_SHAPE = (64, 224, 224)
SEGMENTER_SHAPE = (320, 320)
BCET_MEAN = 110 / 255
"""Mean of the output range (0, 1): Guo's 110 of 255; the paper gives no value (ADR 0005)."""
AVERAGED_SLICES = 16
"""Slices averaged at a time, which bounds the memory. Own decision."""


def as_tensor(array: npt.NDArray[np.generic]) -> Tensor:
    """Return the array as a tensor; it shares the memory of a contiguous one and must not be written."""
    return from_dlpack(np.ascontiguousarray(array))


def window(volume_hu: Tensor) -> Tensor:
    """Clip to the lung window [-1250, 250] HU and scale to (0, 1).

    Args:
        volume_hu: any shape, Hounsfield units.

    Returns:
        float32 of the same shape.
    """
    lowest_hu = WINDOW_LEVEL_HU - WINDOW_WIDTH_HU / 2
    return ((volume_hu.float() - lowest_hu) / WINDOW_WIDTH_HU).clamp(0.0, 1.0)


def classifier_input(volume_hu: Tensor, lung_mask: Tensor) -> Tensor:
    """Return the whole volume as the classifier takes it: windowed, zero outside the lungs, resampled.

    Args:
        volume_hu: ``[slices, rows, columns]``, axes S, P, L.
        lung_mask: the same shape, non-zero inside the lungs.

    Returns:
        ``[1, 1, 64, 224, 224]`` float32 in (0, 1).
    """
    masked = window(volume_hu) * (lung_mask > 0)
    return functional.interpolate(masked[None, None], CLASSIFIER_SHAPE, mode="trilinear", align_corners=False)


def segmenter_input(slices_hu: Tensor) -> Tensor:
    """Return axial slices as the opacity segmenter takes them: windowed, 320 x 320, BCET.

    Args:
        slices_hu: ``[slices, rows, columns]``, axes S, P, L.

    Returns:
        ``[slices, 1, 320, 320]`` float32 in (0, 1).
    """
    return bcet(at_segmenter_size(window(slices_hu)))


def at_segmenter_size(slices: Tensor) -> Tensor:
    """Resample axial slices ``[slices, rows, columns]`` of any unit to ``[slices, 1, 320, 320]``."""
    return functional.interpolate(
        slices[:, None], SEGMENTER_SHAPE, mode="bilinear", align_corners=False, antialias=True
    )


def bcet(images: Tensor, mean: float | Tensor = BCET_MEAN) -> Tensor:
    """Enhance the balance contrast by the parabola y = a (x - b)^2 + c that sets minimum, maximum and mean.

    The output of every image has minimum 0, maximum 1 and the given mean (Guo 1991, equations 4 to 7). Where
    the parabola's turning point falls inside the image's range, grey values would fold onto each other; such
    an image, and a constant one, keeps a straight line instead.

    Args:
        images: ``[batch, channels, rows, columns]`` float; each image of the batch is treated by itself.
        mean: wanted mean of the output, in (0, 1); one for all, or ``[batch, 1, 1, 1]``.

    Returns:
        float of the same shape in [0, 1].
    """
    dims = (1, 2, 3)
    low = images.amin(dims, keepdim=True)
    high = images.amax(dims, keepdim=True)
    average = images.mean(dims, keepdim=True)
    average_square = images.square().mean(dims, keepdim=True)

    span = (high - low).clamp_min(torch.finfo(images.dtype).eps)
    turning_point_numerator = high.square() * mean - average_square + low.square() * (1 - mean)
    turning_point_denominator = 2 * (high * mean - average + low * (1 - mean))
    turning_point = turning_point_numerator / turning_point_denominator
    gain = 1 / (span * (high + low - 2 * turning_point))
    parabola = gain * (images - low) * (images + low - 2 * turning_point)

    monotone = turning_point.isfinite() & ((turning_point <= low) | (turning_point >= high))
    return torch.where(monotone, parabola, (images - low) / span).clamp(0.0, 1.0)


def average_to_spacing(volume_hu: Tensor, spacing_mm: tuple[float, float, float], wanted_mm: float) -> Tensor:
    """Average a volume ``[slices, rows, columns]`` on an isotropic grid of about the wanted spacing."""
    n_slices, n_rows, n_columns = (
        max(1, round(n * mm / wanted_mm)) for n, mm in zip(volume_hu.shape, spacing_mm, strict=True)
    )
    in_plane = torch.cat(  # in the plane first, which uses all cores
        [
            functional.adaptive_avg_pool2d(part.float(), (n_rows, n_columns))
            for part in volume_hu.split(AVERAGED_SLICES)
        ]
    )
    averaged: Tensor = functional.adaptive_avg_pool3d(in_plane[None], (n_slices, n_rows, n_columns))[0]
    return averaged
