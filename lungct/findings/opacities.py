"""Infectious lung opacities, slice by slice, where network and density agree."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cc3d
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from lungct.networks.inputs import SEGMENTER_SHAPE, as_tensor
from lungct.networks.opacity_unet import Box, opacity_probabilities
from lungct.networks.weights import LoadedModel
from lungct.records import CtVolume, HuArray, LungAnatomy, MaskArray, Opacities

BoolArray = npt.NDArray[np.bool_]

SMALLEST_OPACITY_ML = 0.1
"""Volume below which a piece is noise: a sphere of 6 mm, below which nodules are not followed up either."""

AERATED_BELOW_HU = -750.0
"""Density of airy lung, which is no opacity."""

DENSE_ABOVE_HU, DENSE_ABOVE_PROBABILITY = -500.0, 0.05
"""Density from which tissue that touches an opacity belongs to it, and the probability that this needs."""

MARGIN_PIXELS = 16
"""Chest wall around the lungs that the network sees, in its 320 pixels. Whole slices agree no better with
experts (ADR 0027)."""

MULTIPLE_PIXELS = 32
"""Multiple that the network can halve five times."""

THINNEST_MM = 3.75
"""Width below which a structure on a slice is partial volume at the pleura, a vessel or a fissure.

These limits were chosen on painted infections in chests that training did not see: for the volume and the
Dice coefficient, ``lungct train opacity --evaluate``.
"""


def segment_opacities(volume: CtVolume, anatomy: LungAnatomy, model: LoadedModel) -> Opacities:
    """Mark opacities inside the lobes.

    Args:
        volume: canonical volume.
        anatomy: lobes on the same grid; only slices that hold lung are looked at.
        model: see :func:`lungct.networks.opacity_unet.build_opacity_model`; has the parameter ``threshold``.
    """
    mask = np.zeros(volume.volume_hu.shape, np.uint8)
    lungs = anatomy.lobes > 0
    lung_slices = np.flatnonzero(lungs.any(axis=(1, 2)))
    footprint: BoolArray = np.logical_or.reduce(lungs, axis=0)
    seen, place = seen_around(footprint), around(footprint, footprint.shape)
    for batch, probability in opacity_probabilities(volume.volume_hu, lung_slices, model.network, seen):
        inside = (batch, *place)
        mask[inside] = mark_opacities(
            probability[:, *place],
            volume.volume_hu[inside],
            lungs[inside],
            model.parameters["threshold"],
            volume.spacing_mm[2],
        )
    found = (slice(*lung_slices[[0, -1]] + (0, 1)), *place) if lung_slices.size else ()
    mask[found] = _drop_specks(mask[found], volume.voxel_ml)
    return Opacities(mask, model.info)


def seen_around(footprint: BoolArray) -> Box:
    """Return the rows and columns that the network looks at, see :func:`around`."""
    return around(footprint, SEGMENTER_SHAPE, MULTIPLE_PIXELS)


def around(footprint: BoolArray, shape: Sequence[int], multiple: int = 1) -> Box:
    """Return the rows and columns of slices of another size that hold all lung and a margin.

    Args:
        footprint: ``[rows, columns]``, true where any slice holds lung.
        shape: of the other slices.
        multiple: rows and columns are as many times this.
    """
    box = []
    for axis, size in enumerate(shape):
        inside = np.flatnonzero(footprint.any(axis=1 - axis)) * size / footprint.shape[axis]
        first, last = (inside[0], inside[-1]) if inside.size else (0, size)
        begin = max(int(first) - MARGIN_PIXELS, 0)
        wanted = math.ceil((int(last) + 1 + MARGIN_PIXELS - begin) / multiple) * multiple
        end = min(begin + wanted, size)
        box.append(slice(max(end - wanted, 0), end))
    return box[0], box[1]


def mark_opacities(
    probability: Tensor, slices_hu: HuArray, lungs: BoolArray, threshold: float, pixel_mm: float
) -> BoolArray:
    """Mark opacities on axial slices by probability, density and width.

    Densities are means of 3 x 3 voxels, lest noise decide.

    Args:
        probability: ``[slices, rows, columns]`` of :func:`lungct.networks.opacity_unet.opacity_probability`.
        slices_hu: the same shape.
        lungs: the same shape; nothing outside is marked.
        threshold: probability from which a voxel that is not airy is marked by itself.
        pixel_mm: spacing in the slices.
    """
    hu = as_tensor(slices_hu).to(probability.device, torch.float32)
    mean_hu = functional.avg_pool2d(hu[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    core = ((probability > threshold) & (mean_hu > AERATED_BELOW_HU)).cpu().numpy() & lungs
    dense = (probability > DENSE_ABOVE_PROBABILITY) & (mean_hu > DENSE_ABOVE_HU)
    pairs = zip(core, dense.cpu().numpy() & lungs, strict=True)
    whole = np.stack(
        [core_slice | _keep_touched(dense_slice, core_slice) for core_slice, dense_slice in pairs]
    )
    return _drop_thin_parts(torch.from_numpy(whole).to(probability), pixel_mm)


def _keep_touched(plane: BoolArray, by: BoolArray) -> BoolArray:
    """Return the pieces of a plane that share a voxel with another plane."""
    pieces = cc3d.connected_components(plane, connectivity=8)
    is_touched = np.zeros(int(pieces.max()) + 1, bool)
    is_touched[pieces[by & plane]] = True
    touched: BoolArray = is_touched[pieces]
    return touched


def _drop_thin_parts(masks: Tensor, pixel_mm: float) -> BoolArray:
    """Open every slice by a square of :data:`THINNEST_MM`."""
    reach = max(round((THINNEST_MM / pixel_mm - 1) / 2), 0)
    width = 2 * reach + 1
    eroded = -_spread_highest(-masks[:, None], width, reach)
    opened: BoolArray = _spread_highest(eroded, width, reach)[:, 0].bool().cpu().numpy()
    return opened


def _spread_highest(planes: Tensor, width: int, reach: int) -> Tensor:
    """Return the maximum in a square, along one axis after the other, which is faster."""
    along_rows = functional.max_pool2d(planes, (1, width), 1, (0, reach))
    return functional.max_pool2d(along_rows, (width, 1), 1, (reach, 0))


def _drop_specks(mask: MaskArray, voxel_ml: float) -> MaskArray:
    smallest_voxels = int(np.ceil(SMALLEST_OPACITY_ML / voxel_ml))
    kept: MaskArray = cc3d.dust(mask, threshold=smallest_voxels, connectivity=26)
    return kept
