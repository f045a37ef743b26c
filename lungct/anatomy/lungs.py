"""Lungs and lobes: one pass of a network over the whole chest, refined by intensity at full resolution."""

from __future__ import annotations

from collections.abc import Iterable

import cc3d
import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from lungct.anatomy.fissures import follow_fissures, nearest_label
from lungct.anatomy.full_resolution import SLAB_SLICES, Box, box_around, interpolated, slabs
from lungct.errors import NoLungError
from lungct.inference.weights import LoadedModel
from lungct.networks.lobe_unet import GRID_SPACING_MM, STRIDE
from lungct.preprocessing import window
from lungct.records import CtVolume, Lobe, LungAnatomy, MaskArray

AERATED_HU = -400.0
"""Half-way between aerated lung (about -850 HU) and soft tissue (about 40 HU): the unbiased border."""

POSSIBLE_LUNG = 0.3
"""Network probability above which an aerated voxel belongs to the lung."""

CERTAIN_LUNG = 0.6
"""Network probability above which a voxel is lung whatever its intensity: vessels, consolidation. On infected
validation chests 0.7, 0.6 and 0.5 find 93.5, 94.3 and 95.2 % of the opacities; the Dice coefficient of the
lobes is 0.966, 0.966, 0.964."""

AERATED_GREY = 0.5
"""-500 HU in the lung window."""

EMPTY_GREY = 0.19
"""-965 HU in the lung window: darker on the coarse grid, where noise is averaged out, is air without lung."""

DENT_VOXELS = 4
"""Half the width of a dent, on the network's grid: a consolidation at the pleura, no space between ribs and
heart. Own decision."""

GAS_RIM_VOXELS = 2
"""Around gas, on the network's grid: where gas and wall share voxels, these look like aerated lung."""

SMALLEST_LUNGS_ML = 200.0
"""Less air-filled lung than this no living patient has: whatever was found is no pair of lungs. Dense parts
do not count, since the network completes lungs by their shape."""

SMALLEST_LUNG_SHARE = 0.05
"""A separate piece with a smaller share of all lung voxels is no lung."""

FISSURE_GRID_SPACING_MM = 2.0


def segment_lobes(volume: CtVolume, model: LoadedModel) -> LungAnatomy:
    """Label the five lobes.

    Args:
        volume: canonical volume.
        model: :class:`lungct.networks.LobeUNet` with its weights.

    Returns:
        Labels on the volume's grid.

    Raises:
        NoLungError: the volume shows no lungs.
    """
    device = next(model.network.parameters()).device
    volume_hu = torch.from_numpy(np.ascontiguousarray(volume.volume_hu)).to(device)
    grid = coarse_grid(volume_hu, volume.spacing_mm)
    probabilities = coarse_probabilities(grid, model.network)
    probabilities = without_doubtful_gas(without_outside_air(probabilities, grid), grid)
    probabilities = with_dents_filled(keep_largest_pieces(probabilities), grid)
    lobes = np.zeros(volume.volume_hu.shape, np.uint8)
    lung = 1.0 - probabilities[0]
    if (lung > POSSIBLE_LUNG).any():
        box = box_around(lung > POSSIBLE_LUNG, lobes.shape)
        territories = lobe_territories(probabilities, volume_hu, volume.spacing_mm)
        for part in slabs(box):
            inside = _is_lung(interpolated(lung, lobes.shape, part), volume_hu[part])
            lobes[part] = (_prevailing(territories, lobes.shape, part) * inside).cpu().numpy()
        lobes[box] = _without_islands(lobes[box])
    require_aerated_lung(volume, lobes)
    return LungAnatomy(lobes, model.info, lobe_confidence(probabilities))


def require_aerated_lung(volume: CtVolume, lobes: MaskArray) -> None:
    """Refuse lobes that hold less air-filled lung than any living patient has.

    Raises:
        NoLungError: the volume shows no lungs.
    """
    aerated_ml = np.count_nonzero(volume.volume_hu[lobes > 0] < AERATED_HU) * volume.voxel_ml
    if aerated_ml < SMALLEST_LUNGS_ML:
        raise NoLungError(f"no lungs found (only {aerated_ml:.0f} mL with air): send a CT of the chest")


def coarse_grid(volume_hu: Tensor, spacing_mm: tuple[float, float, float]) -> Tensor:
    """The chest as the lobe network takes it, before padding.

    Args:
        volume_hu: ``[slices, rows, columns]``, axes S, P, L.
        spacing_mm: of the three axes.

    Returns:
        ``[1, 1, slices, rows, columns]`` in the lung window, every voxel the average of about 2.5 mm cubed.
    """
    return window(_averaged(volume_hu, spacing_mm, GRID_SPACING_MM)[None, None])


def _averaged(volume_hu: Tensor, spacing_mm: tuple[float, float, float], wanted_mm: float) -> Tensor:
    """The volume ``[slices, rows, columns]`` on a grid of about that spacing.

    First in the plane, a slice at a time, then along the slices: that uses all cores.
    """
    n_slices, n_rows, n_columns = (
        max(1, round(n * mm / wanted_mm)) for n, mm in zip(volume_hu.shape, spacing_mm, strict=True)
    )
    in_plane = torch.cat(
        [
            functional.adaptive_avg_pool2d(part.float(), (n_rows, n_columns))
            for part in volume_hu.split(SLAB_SLICES)
        ]
    )
    averaged: Tensor = functional.adaptive_avg_pool3d(in_plane[None], (n_slices, n_rows, n_columns))[0]
    return averaged


def pad_to_stride(grid: Tensor) -> Tensor:
    """Pad the far end of the last three axes with air up to a multiple of the network's stride."""
    padding = [pad for n in reversed(grid.shape[2:]) for pad in (0, -n % STRIDE)]
    return functional.pad(grid, padding)


@torch.inference_mode()
def coarse_probabilities(grid: Tensor, network: torch.nn.Module) -> Tensor:
    """Class probabilities ``[6, slices, rows, columns]`` on the grid of :func:`coarse_grid`."""
    n_slices, n_rows, n_columns = grid.shape[2:]
    logits: Tensor = network(pad_to_stride(grid))[0, :, :n_slices, :n_rows, :n_columns]
    return logits.softmax(dim=0)


def lobe_territories(
    probabilities: Tensor, volume_hu: Tensor, spacing_mm: tuple[float, float, float]
) -> Tensor:
    """Which lobe a voxel belongs to if it is lung, with borders on visible fissures.

    Args:
        probabilities: ``[6, slices, rows, columns]`` on the network's grid.
        volume_hu: on the volume's own grid.
        spacing_mm: of the volume.

    Returns:
        uint8 ``[slices, rows, columns]`` on a grid of about 2 mm: :attr:`Lobe.label` in a box around whatever
        may be lung, 0 outside.
    """
    fine_hu = _averaged(volume_hu, spacing_mm, FISSURE_GRID_SPACING_MM)
    fine_spacing_mm = [
        n * mm / n_fine for n, mm, n_fine in zip(volume_hu.shape, spacing_mm, fine_hu.shape, strict=True)
    ]
    fine = functional.interpolate(probabilities[None], fine_hu.shape, mode="trilinear")[0]
    labels = ((_first_of_largest(fine[1:]) + 1) * (fine[0] < 0.5)).cpu().numpy()
    if labels.any():
        box = box_around(fine[0] < 1.0 - POSSIBLE_LUNG, labels.shape)
        moved = follow_fissures(labels[box], fine_hu.cpu().numpy()[box], fine_spacing_mm)
        labels[box] = nearest_label(moved)
    return torch.from_numpy(labels).to(volume_hu.device)


def _first_of_largest(channels: Iterable[Tensor]) -> Tensor:
    """Index of the largest of several channels, uint8; many times faster than ``argmax`` across channels."""
    channels = iter(channels)
    best = next(channels).clone()
    index = torch.zeros_like(best, dtype=torch.uint8)
    for label, values in enumerate(channels, start=1):
        index.masked_fill_(values > best, label)
        torch.maximum(best, values, out=best)
    return index


def _prevailing(territories: Tensor, shape: tuple[int, ...], part: Box) -> Tensor:
    """The lobe that prevails around every voxel of a part of the volume."""
    shares = (interpolated(territories == lobe.label, shape, part) for lobe in Lobe)
    return _first_of_largest(shares) + 1


def lobe_confidence(probabilities: Tensor) -> dict[Lobe, float]:
    """Mean probability of each lobe where it wins; lobes that win nowhere are left out.

    Args:
        probabilities: ``[6, slices, rows, columns]``.
    """
    winners = _first_of_largest(probabilities)
    return {
        lobe: float(probabilities[lobe.label][winners == lobe.label].mean())
        for lobe in Lobe
        if (winners == lobe.label).any()
    }


def without_outside_air(probabilities: Tensor, grid: Tensor) -> Tensor:
    """Take the lobes' probability away in air that reaches the edge of its axial slice.

    Where the network is certain of lung it stays, unless the air is empty: a cropped field of view opens the
    lungs to the edge.

    Args:
        probabilities: ``[6, slices, rows, columns]``.
        grid: of :func:`coarse_grid`.
    """
    air = grid[0, 0].cpu().numpy() < AERATED_GREY
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    pieces, _ = ndimage.label(air, in_plane)
    edge = np.concatenate([pieces[:, [0, -1]].ravel(), pieces[:, :, [0, -1]].ravel()])
    outside = torch.from_numpy(air & np.isin(pieces, edge)).to(probabilities.device)
    outside &= (probabilities[0] > 1.0 - CERTAIN_LUNG) | (grid[0, 0] < EMPTY_GREY)
    cleared = probabilities.clone()
    cleared[1:, outside] = 0.0
    cleared[0, outside] = 1.0
    return cleared


def without_doubtful_gas(probabilities: Tensor, grid: Tensor) -> Tensor:
    """Take the lobes' probability away in pieces of empty air that the network is not certain of.

    Lung weighs something. Air without weight is a bulla, where the network is certain, or gas in bowel,
    stomach or the large airways. The rim of the gas goes with it, but for what is certain there.

    Args:
        probabilities: ``[6, slices, rows, columns]``.
        grid: of :func:`coarse_grid`.
    """
    lung = (1.0 - probabilities[0]).cpu().numpy()
    gas = (grid[0, 0].cpu().numpy() < EMPTY_GREY) & (lung > POSSIBLE_LUNG)
    pieces, n_pieces = cc3d.connected_components(gas, connectivity=6, return_N=True)
    if not n_pieces:
        return probabilities
    doubtful = ndimage.mean(lung, pieces, np.arange(n_pieces + 1)) < CERTAIN_LUNG
    doubtful[0] = False
    rim = ndimage.binary_dilation(doubtful[pieces], iterations=GAS_RIM_VOXELS) & (lung < CERTAIN_LUNG)
    cleared = probabilities.clone()
    no_lung = torch.from_numpy(doubtful[pieces] | rim).to(cleared.device)
    cleared[1:, no_lung] = 0.0
    cleared[0, no_lung] = 1.0
    return cleared


def with_dents_filled(probabilities: Tensor, grid: Tensor) -> Tensor:
    """Make lung certain where the outline of the lungs is dented and lung is possible.

    There dense lung meets the chest wall, and nothing but the shape of the lungs tells them apart.

    Args:
        probabilities: ``[6, slices, rows, columns]``; between the lobes they keep their proportions.
        grid: of :func:`coarse_grid`.
    """
    lung = 1.0 - probabilities[0]
    inside = ((lung > CERTAIN_LUNG) | ((lung > POSSIBLE_LUNG) & (grid[0, 0] < AERATED_GREY))).cpu().numpy()
    whole = ndimage.binary_closing(np.pad(inside, DENT_VOXELS), iterations=DENT_VOXELS)
    unpadded = tuple(slice(DENT_VOXELS, -DENT_VOXELS) for _ in range(3))
    dents = torch.from_numpy(whole[unpadded] & ~inside).to(lung.device) & (lung > POSSIBLE_LUNG)
    filled = probabilities.clone()
    filled[0, dents] = 0.0
    filled[1:, dents] /= lung[dents]
    return filled


def keep_largest_pieces(probabilities: Tensor) -> Tensor:
    """Take a lobe's probability away wherever the lobe wins apart from its largest piece.

    Args:
        probabilities: ``[6, slices, rows, columns]``.

    Returns:
        The same shape; the next most probable class wins in the smaller pieces.
    """
    winners = _first_of_largest(probabilities).cpu().numpy()
    kept = probabilities.clone()
    for label in range(1, probabilities.shape[0]):
        lobe = winners == label
        stray = lobe & ~_largest_piece(lobe)
        kept[label][torch.from_numpy(stray).to(kept.device)] = 0.0
    return kept


def _largest_piece(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    pieces, n_pieces = cc3d.connected_components(mask, connectivity=6, return_N=True)
    if n_pieces < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    largest: npt.NDArray[np.bool_] = pieces == sizes.argmax()
    return largest


def _without_islands(lobes: MaskArray) -> MaskArray:
    """Drop pieces far smaller than a lung: gas in stomach and bowel."""
    lung = lobes > 0
    smallest_voxels = int(SMALLEST_LUNG_SHARE * np.count_nonzero(lung))
    kept: MaskArray = lobes * cc3d.dust(lung, threshold=smallest_voxels, connectivity=6)
    return kept


def _is_lung(probability: Tensor, slab_hu: Tensor) -> Tensor:
    return (probability > CERTAIN_LUNG) | ((probability > POSSIBLE_LUNG) & (slab_hu < AERATED_HU))
