"""Lungs and lobes: one pass of a network over the whole chest, refined by intensity at full resolution."""

from __future__ import annotations

import cc3d
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lungct.anatomy.fissures import follow_fissures, nearest_label
from lungct.anatomy.full_resolution import Box, box_around, interpolated, slabs
from lungct.anatomy.lung_rules import (
    CERTAIN_LUNG,
    EMPTY_HU,
    POSSIBLE_LUNG,
    first_of_largest,
    keep_largest_pieces,
    with_dents_filled,
    without_doubtful_fat,
    without_doubtful_gas,
    without_organs,
    without_outside_air,
)
from lungct.anatomy.trachea import take_out_trachea
from lungct.anatomy.work_grid import MASK_BORDER
from lungct.errors import NoLungError
from lungct.networks.inputs import as_tensor, average_to_spacing
from lungct.networks.lobe_unet import coarse_grid, coarse_probabilities
from lungct.networks.lungmask import Lungmask
from lungct.networks.weights import LoadedModel
from lungct.records import CtVolume, Lobe, LungAnatomy, MaskArray, Trachea

AERATED_HU = -400.0
"""Half-way between aerated lung (about -850 HU) and soft tissue (about 40 HU): the unbiased border."""

SMALLEST_LUNGS_ML = 200.0
"""Least air-filled lung of a living patient: with less, the volume shows no lungs. Dense parts do not count,
since the network completes lungs by their shape."""

AERATED_GRID_MM = 7.5
"""Spacing of the grid on which air is counted: noise averages out, a lung does not. Own decision."""

SMALLEST_LUNG_SHARE = 0.05
"""Smallest share of all lung voxels that makes a separate piece lung. Own decision."""

FISSURE_GRID_SPACING_MM = 2.0


def segment_lobes(volume: CtVolume, model: LoadedModel | Lungmask) -> LungAnatomy:
    """Label the five lobes.

    Args:
        volume: canonical volume.
        model: :class:`lungct.networks.LobeUNet` with its weights, or lungmask, which tells no confidence.

    Returns:
        Labels on the volume's grid.

    Raises:
        NoLungError: the volume shows no lungs.
    """
    if isinstance(model, Lungmask):
        anatomy = LungAnatomy(model.label_lobes(volume.volume_hu), model.info)
    else:
        anatomy = _segment_by_network(volume, model)
    _require_aerated_lung(volume, anatomy.lobes)
    return anatomy


def _segment_by_network(volume: CtVolume, model: LoadedModel) -> LungAnatomy:
    device = next(model.network.parameters()).device
    volume_hu = as_tensor(volume.volume_hu).to(device)
    grid = coarse_grid(volume_hu, volume.spacing_mm)
    probabilities = coarse_probabilities(grid, model.network)
    probabilities = without_doubtful_gas(without_outside_air(probabilities, grid), grid)
    probabilities = without_organs(without_doubtful_fat(probabilities, grid), grid)
    probabilities = with_dents_filled(keep_largest_pieces(probabilities), grid)
    lobes: MaskArray = np.zeros(volume.volume_hu.shape, np.uint8)
    trachea: Trachea | None = None
    lung = 1.0 - probabilities[0]
    if (lung > POSSIBLE_LUNG).any():
        box = box_around(lung > POSSIBLE_LUNG, lobes.shape)
        territories = lobe_territories(probabilities, volume_hu, volume.spacing_mm)
        for part in slabs(box):
            inside = _is_lung(interpolated(lung, lobes.shape, part), volume_hu[part])
            lobes[part] = (_prevailing(territories, lobes.shape, part) * inside).cpu().numpy()
        lobes, trachea = take_out_trachea(volume, lobes)
        lobes[box] = _without_islands(lobes[box])
    return LungAnatomy(lobes, model.info, lobe_confidence(probabilities), trachea)


def _require_aerated_lung(volume: CtVolume, lobes: MaskArray) -> None:
    """Refuse lobes that hold less air-filled lung than any living patient has."""
    hu, lungs = (
        average_to_spacing(as_tensor(array), volume.spacing_mm, AERATED_GRID_MM)
        for array in (volume.volume_hu, lobes > 0)
    )
    voxel_ml = volume.voxel_ml * lobes.size / hu.numel()
    aerated = (hu > EMPTY_HU) & (hu < AERATED_HU) & (lungs > MASK_BORDER)
    aerated_ml = int(aerated.sum()) * voxel_ml
    if aerated_ml < SMALLEST_LUNGS_ML:
        raise NoLungError(f"no lungs found (only {aerated_ml:.0f} mL with air): send a CT of the chest")


def lobe_territories(
    probabilities: Tensor, volume_hu: Tensor, spacing_mm: tuple[float, float, float]
) -> Tensor:
    """Return the lobe that each voxel belongs to if it is lung, with borders on visible fissures.

    Args:
        probabilities: ``[6, slices, rows, columns]`` on the network's grid.
        volume_hu: on the volume's own grid.
        spacing_mm: of the volume.

    Returns:
        uint8 ``[slices, rows, columns]`` on a grid of about 2 mm: :attr:`Lobe.label` in a box around whatever
        may be lung, 0 outside.
    """
    fine_hu = average_to_spacing(volume_hu, spacing_mm, FISSURE_GRID_SPACING_MM)
    fine_spacing_mm = [
        n * mm / n_fine for n, mm, n_fine in zip(volume_hu.shape, spacing_mm, fine_hu.shape, strict=True)
    ]
    fine = functional.interpolate(probabilities[None], fine_hu.shape, mode="trilinear")[0]
    labels = ((first_of_largest(fine[1:]) + 1) * (fine[0] < MASK_BORDER)).cpu().numpy()
    if labels.any():
        box = box_around(fine[0] < 1.0 - POSSIBLE_LUNG, labels.shape)
        moved = follow_fissures(labels[box], fine_hu.cpu().numpy()[box], fine_spacing_mm)
        labels[box] = nearest_label(moved)
    return torch.from_numpy(labels).to(volume_hu.device)


def _prevailing(territories: Tensor, shape: tuple[int, ...], part: Box) -> Tensor:
    """Return the lobe that prevails around every voxel of a part of the volume."""
    shares = (interpolated(territories == lobe.label, shape, part) for lobe in Lobe)
    return first_of_largest(shares) + 1


def lobe_confidence(probabilities: Tensor) -> dict[Lobe, float]:
    """Return the mean probability of each lobe where it wins; lobes that win nowhere are left out."""
    winners = first_of_largest(probabilities)
    return {
        lobe: float(probabilities[lobe.label][winners == lobe.label].mean())
        for lobe in Lobe
        if (winners == lobe.label).any()
    }


def _without_islands(lobes: MaskArray) -> MaskArray:
    """Drop pieces far smaller than a lung: gas in stomach and bowel."""
    lung = lobes > 0
    smallest_voxels = int(SMALLEST_LUNG_SHARE * np.count_nonzero(lung))
    kept: MaskArray = lobes * cc3d.dust(lung, threshold=smallest_voxels, connectivity=6)
    return kept


def _is_lung(probability: Tensor, slab_hu: Tensor) -> Tensor:
    return (probability > CERTAIN_LUNG) | ((probability > POSSIBLE_LUNG) & (slab_hu < AERATED_HU))
