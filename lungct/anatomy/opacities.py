"""Infectious lung opacities, slice by slice."""

from __future__ import annotations

import cc3d
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lungct.inference.weights import LoadedModel
from lungct.preprocessing import segmenter_input
from lungct.records import CtVolume, LungAnatomy, MaskArray, Opacities

BATCH_SLICES = 8
"""More slices at a time are no faster on a CPU."""

SMALLEST_OPACITY_ML = 0.1
"""Smaller pieces are noise: a sphere of 6 mm, the size below which nodules are not followed up either."""


def segment_opacities(volume: CtVolume, anatomy: LungAnatomy, model: LoadedModel) -> Opacities:
    """Mark opacities inside the lobes.

    Args:
        volume: canonical volume.
        anatomy: lobes on the same grid; only slices that hold lung are looked at.
        model: :func:`lungct.networks.opacity_unet` with its weights and the parameter ``threshold``.
    """
    mask = np.zeros(volume.volume_hu.shape, np.uint8)
    lung_slices = np.flatnonzero(anatomy.lobes.any(axis=(1, 2)))
    for start in range(0, lung_slices.size, BATCH_SLICES):
        batch = lung_slices[start : start + BATCH_SLICES]
        probability = opacity_probability(volume.volume_hu[batch], model.network)
        mask[batch] = (probability > model.parameters["threshold"]).cpu().numpy()
    mask[anatomy.lobes == 0] = 0
    return Opacities(_without_specks(mask, volume.voxel_ml), model.info)


@torch.inference_mode()
def opacity_probability(slices_hu: np.ndarray, network: torch.nn.Module) -> Tensor:
    """Probability of opacity on the slices' own grid.

    Args:
        slices_hu: ``[slices, rows, columns]``, axes S, P, L.
        network: takes three equal channels.

    Returns:
        ``[slices, rows, columns]`` in (0, 1), on the network's device.
    """
    parameter = next(network.parameters())
    images = segmenter_input(torch.from_numpy(np.ascontiguousarray(slices_hu)).to(parameter.device))
    logits = network(images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last))
    probability = logits.sigmoid()
    return functional.interpolate(probability, slices_hu.shape[1:], mode="bilinear", align_corners=False)[
        :, 0
    ]


def _without_specks(mask: MaskArray, voxel_ml: float) -> MaskArray:
    smallest_voxels = int(np.ceil(SMALLEST_OPACITY_ML / voxel_ml))
    kept: MaskArray = cc3d.dust(mask, threshold=smallest_voxels, connectivity=26, in_place=True)
    return kept
