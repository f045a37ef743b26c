"""Corrections of the lobe network on its own grid, by what is known of lungs, air, gas and fat.

All rules take and return the network's probabilities ``[6, slices, rows, columns]``; most look at the chest
on the same grid too, see :func:`lungct.networks.lobe_unet.coarse_grid`.
"""

from __future__ import annotations

from collections.abc import Iterable

import cc3d
import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from lungct.networks.inputs import WINDOW_LEVEL_HU, WINDOW_WIDTH_HU

BoolArray = npt.NDArray[np.bool_]

POSSIBLE_LUNG = 0.3
"""Network probability above which an aerated voxel belongs to the lung."""

CERTAIN_LUNG = 0.6
"""Network probability above which a voxel is lung whatever its intensity: vessels, consolidation. On infected
validation chests 0.7, 0.6 and 0.5 find 93.5, 94.3 and 95.2 % of the opacities; the Dice coefficient of the
lobes is 0.966, 0.966, 0.964."""

AERATED_GREY = 0.5
"""-500 HU in the lung window."""

EMPTY_HU = -965.0
"""Upper limit of air without lung, where noise is averaged out. Own decision."""

EMPTY_GREY = (EMPTY_HU - WINDOW_LEVEL_HU + WINDOW_WIDTH_HU / 2) / WINDOW_WIDTH_HU
"""``EMPTY_HU`` in the lung window."""

DENT_VOXELS = 4
"""Half the width of a dent, on the network's grid: a consolidation at the pleura, no space between ribs and
heart. Own decision."""

RIM_VOXELS = 2
"""Width of a rim on the network's grid: around gas, voxels that gas and wall share look like aerated lung;
fat thinner than that is the border between lung and its surroundings."""

FAT_GREY = (0.733, 0.813)
"""-150 to -30 HU in the lung window."""

CERTAIN_IN_FAT = 0.8
"""Mean probability of lung from which a piece as dense as fat is lung. Fat below the diaphragm of two real
chests had 0.5 to 0.7, painted lesions of that density mostly more than 0.9."""

SOLID_GREY = 0.7
"""-200 HU in the lung window: what is solid, fat and organs included."""

SMALLEST_ORGAN_VOXELS = 640
"""10 mL on the network's grid, without a rim: less may be a consolidation at the base. Own decision."""

CERTAIN_ABOVE_DIAPHRAGM = 0.94
"""Mean probability of lung from which a solid piece at the base is lung. Liver, spleen and stomach under
the raised diaphragms of four real chests had 0.65 to 0.91, lobes painted solid in two synthetic ones 0.97
to 0.98."""

AIR_BELOW_SHARE = 0.1
"""Share of a piece with air-filled lung straight below it, from which it is no organ: in the same chests
organs have 0 to 0.03; two tumours and the solid consolidations of two patients have 0.16 to 1."""

FISSURE_SLOPE = 0.45
"""Rise of a piece's upper surface to the back. Domes of the diaphragm have -0.3 to 0.25, the oblique fissure,
which bounds a solid lower lobe, 0.5 to 1.4."""


def first_of_largest(channels: Iterable[Tensor]) -> Tensor:
    """Return the index of the largest of several channels, uint8; many times faster than ``argmax``."""
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
    """
    gas = (grid[0, 0].cpu().numpy() < EMPTY_GREY) & _possible(probabilities)
    return _without_doubtful(probabilities, gas, CERTAIN_LUNG, RIM_VOXELS)


def without_doubtful_fat(probabilities: Tensor, grid: Tensor) -> Tensor:
    """Take the lobes' probability away in bulky pieces as dense as fat that the network is not certain of.

    Below the diaphragm fat looks like lung that an infection has filled; of true lung of that density the
    network is certain.
    """
    grey = grid[0, 0].cpu().numpy()
    fat = (grey > FAT_GREY[0]) & (grey < FAT_GREY[1]) & _possible(probabilities)
    bulky = ndimage.binary_opening(fat, iterations=RIM_VOXELS)
    return _without_doubtful(probabilities, bulky, CERTAIN_IN_FAT, RIM_VOXELS + 1)


def without_organs(probabilities: Tensor, grid: Tensor) -> Tensor:
    """Take the lobes' probability away in what lies below the diaphragm.

    The network has mostly seen lungs that reach deep, so it takes liver or spleen below a raised diaphragm
    for lung. Such a piece is bulky and solid, has no air-filled lung below it, and its upper surface is a
    dome and no fissure. Where the network is certain, a lower lobe is consolidated.
    """
    lung = (1.0 - probabilities[0]).cpu().numpy()
    grey = ndimage.uniform_filter(grid[0, 0].cpu().numpy(), 2)
    solid = (lung > POSSIBLE_LUNG) & (grey > SOLID_GREY)
    over_air = np.logical_or.accumulate((lung > CERTAIN_LUNG) & (grey < AERATED_GREY), axis=0)
    bulky = cc3d.dust(
        ndimage.binary_erosion(solid, iterations=RIM_VOXELS), SMALLEST_ORGAN_VOXELS, connectivity=6
    )
    pieces = cc3d.connected_components(bulky, connectivity=6)
    organs = np.zeros(solid.shape, bool)
    for number, box in enumerate(ndimage.find_objects(pieces), 1):
        piece = pieces[box] == number
        certain = lung[box][piece].mean() >= CERTAIN_ABOVE_DIAPHRAGM
        if not certain and over_air[box][piece].mean() < AIR_BELOW_SHARE and _is_dome(piece):
            organs[box] |= piece
    whole = ndimage.binary_dilation(organs, iterations=2 * RIM_VOXELS, mask=solid)
    return _cleared(probabilities, torch.from_numpy(whole).to(probabilities.device))


def _is_dome(piece: BoolArray) -> bool:
    """Tell whether the upper surface of a piece rises less to the back than a fissure; voxels are cubes."""
    rows, columns = np.nonzero(piece.any(axis=0))
    top = piece.shape[0] - piece[::-1, rows, columns].argmax(axis=0)
    towards_back = rows - rows.mean()
    terms = np.stack([np.ones(rows.size), towards_back, columns - columns.mean(), towards_back**2], axis=1)
    slope = float(np.linalg.lstsq(terms, top.astype(float), rcond=None)[0][1])
    return slope < FISSURE_SLOPE


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
    """Put background in place of lobes."""
    cleared = probabilities.clone()
    cleared[1:, no_lung] = 0.0
    cleared[0, no_lung] = 1.0
    return cleared


def with_dents_filled(probabilities: Tensor, grid: Tensor) -> Tensor:
    """Make lung certain where the outline of the lungs is dented and lung is possible.

    There dense lung meets the chest wall, and nothing but the shape of the lungs tells them apart. The
    probabilities of the lobes keep their proportions.
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

    The next most probable class wins in the smaller pieces.
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
