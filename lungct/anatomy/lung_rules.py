"""What the lobe network says, corrected on its own grid by what is known of lungs, air, gas and fat."""

from __future__ import annotations

from collections.abc import Iterable

import cc3d
import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

BoolArray = npt.NDArray[np.bool_]

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

RIM_VOXELS = 2
"""On the network's grid. Around gas: where gas and wall share voxels, these look like aerated lung. Of fat:
what is thinner is the border between lung and its surroundings."""

FAT_GREY = (0.733, 0.813)
"""-150 to -30 HU in the lung window."""

CERTAIN_IN_FAT = 0.8
"""Mean probability of lung from which a piece as dense as fat is lung. Fat below the diaphragm of two real
chests had 0.5 to 0.7, painted lesions of that density mostly more than 0.9."""


def first_of_largest(channels: Iterable[Tensor]) -> Tensor:
    """Index of the largest of several channels, uint8; many times faster than ``argmax`` across channels."""
    channels = iter(channels)
    best = next(channels).clone()
    index = torch.zeros_like(best, dtype=torch.uint8)
    for label, values in enumerate(channels, start=1):
        index.masked_fill_(values > best, label)
        torch.maximum(best, values, out=best)
    return index


def without_outside_air(probabilities: Tensor, grid: Tensor) -> Tensor:
    """Take the lobes' probability away in air that reaches the edge of its axial slice.

    Where the network is certain of lung it stays, unless the air is empty: a cropped field of view opens the
    lungs to the edge.

    Args:
        probabilities: ``[6, slices, rows, columns]``.
        grid: of :func:`lungct.networks.lobe_unet.coarse_grid`.
    """
    air = grid[0, 0].cpu().numpy() < AERATED_GREY
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    pieces, _ = ndimage.label(air, in_plane)
    edge = np.concatenate([pieces[:, [0, -1]].ravel(), pieces[:, :, [0, -1]].ravel()])
    outside = torch.from_numpy(air & np.isin(pieces, edge)).to(probabilities.device)
    outside &= (probabilities[0] > 1.0 - CERTAIN_LUNG) | (grid[0, 0] < EMPTY_GREY)
    return _cleared(probabilities, outside)


def without_doubtful_gas(probabilities: Tensor, grid: Tensor) -> Tensor:
    """Take the lobes' probability away in pieces of empty air that the network is not certain of.

    Lung weighs something. Air without weight is a bulla, where the network is certain, or gas in bowel,
    stomach or the large airways. The rim of the gas goes with it, but for what is certain there.

    Args:
        probabilities: ``[6, slices, rows, columns]``.
        grid: of :func:`lungct.networks.lobe_unet.coarse_grid`.
    """
    gas = (grid[0, 0].cpu().numpy() < EMPTY_GREY) & _possible(probabilities)
    return _without_doubtful(probabilities, gas, CERTAIN_LUNG, RIM_VOXELS)


def without_doubtful_fat(probabilities: Tensor, grid: Tensor) -> Tensor:
    """Take the lobes' probability away in bulky pieces as dense as fat that the network is not certain of.

    Below the diaphragm fat looks like lung that an infection has filled; of true lung of that density the
    network is certain.

    Args:
        probabilities: ``[6, slices, rows, columns]``.
        grid: of :func:`lungct.networks.lobe_unet.coarse_grid`.
    """
    grey = grid[0, 0].cpu().numpy()
    fat = (grey > FAT_GREY[0]) & (grey < FAT_GREY[1]) & _possible(probabilities)
    bulky = ndimage.binary_opening(fat, iterations=RIM_VOXELS)
    return _without_doubtful(probabilities, bulky, CERTAIN_IN_FAT, RIM_VOXELS + 1)


def _possible(probabilities: Tensor) -> BoolArray:
    possible: BoolArray = (1.0 - probabilities[0] > POSSIBLE_LUNG).cpu().numpy()
    return possible


def _without_doubtful(probabilities: Tensor, mask: BoolArray, certain: float, rim_voxels: int) -> Tensor:
    """Clear pieces of a mask whose mean probability of lung is not certain, and what is not around them."""
    lung = (1.0 - probabilities[0]).cpu().numpy()
    pieces, n_pieces = cc3d.connected_components(mask, connectivity=6, return_N=True)
    if not n_pieces:
        return probabilities
    doubtful = ndimage.mean(lung, pieces, np.arange(n_pieces + 1)) < certain
    doubtful[0] = False
    rim = ndimage.binary_dilation(doubtful[pieces], iterations=rim_voxels) & (lung < certain)
    return _cleared(probabilities, torch.from_numpy(doubtful[pieces] | rim))


def _cleared(probabilities: Tensor, no_lung: Tensor) -> Tensor:
    """Background instead of lobes."""
    cleared = probabilities.clone()
    cleared[1:, no_lung] = 0.0
    cleared[0, no_lung] = 1.0
    return cleared


def with_dents_filled(probabilities: Tensor, grid: Tensor) -> Tensor:
    """Make lung certain where the outline of the lungs is dented and lung is possible.

    There dense lung meets the chest wall, and nothing but the shape of the lungs tells them apart.

    Args:
        probabilities: ``[6, slices, rows, columns]``; between the lobes they keep their proportions.
        grid: of :func:`lungct.networks.lobe_unet.coarse_grid`.
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
    winners = first_of_largest(probabilities).cpu().numpy()
    kept = probabilities.clone()
    for label in range(1, probabilities.shape[0]):
        lobe = winners == label
        stray = lobe & ~_largest_piece(lobe)
        kept[label][torch.from_numpy(stray).to(kept.device)] = 0.0
    return kept


def _largest_piece(mask: BoolArray) -> BoolArray:
    pieces, n_pieces = cc3d.connected_components(mask, connectivity=6, return_N=True)
    if n_pieces <= 1:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    largest: BoolArray = pieces == sizes.argmax()
    return largest
