"""Lungs and lobes: one pass of a network over the whole chest, refined by intensity at full resolution."""

from __future__ import annotations

from collections.abc import Iterator

import cc3d
import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from lungct.anatomy.fissures import follow_fissures, nearest_label
from lungct.errors import NoLungError
from lungct.inference.weights import LoadedModel
from lungct.networks.lobe_unet import GRID_SPACING_MM, STRIDE
from lungct.preprocessing import window
from lungct.records import CtVolume, Lobe, LungAnatomy, MaskArray

AERATED_HU = -400.0
"""Half-way between aerated lung (about -850 HU) and soft tissue (about 40 HU): the unbiased border."""

POSSIBLE_LUNG = 0.3
"""Network probability above which an aerated voxel belongs to the lung."""

CERTAIN_LUNG = 0.7
"""Network probability above which a voxel is lung whatever its intensity: vessels, consolidation."""

AERATED_GREY = 0.5
"""-500 HU in the lung window."""

EMPTY_GREY = 0.19
"""-965 HU in the lung window: darker on the coarse grid, where noise is averaged out, is air without lung."""

SMALLEST_LUNGS_ML = 200.0
"""Less air-filled lung than this no living patient has: whatever was found is no pair of lungs. Dense parts
do not count, since the network completes lungs by their shape."""

SMALLEST_LUNG_SHARE = 0.05
"""A separate piece with a smaller share of all lung voxels is no lung."""

FISSURE_GRID_SPACING_MM = 2.0

SLAB_SLICES = 16
"""Slices refined at a time, which bounds the memory of the full-resolution probabilities."""


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
    probabilities = keep_largest_pieces(without_outside_air(probabilities, grid))
    territories = lobe_territories(probabilities, volume_hu, volume.spacing_mm)
    lobes = np.empty(volume.volume_hu.shape, np.uint8)
    lung_slabs, territory_slabs = (
        _full_resolution_slabs(coarse, volume.volume_hu.shape)
        for coarse in (1.0 - probabilities[:1], territories)
    )
    for (part, lung), (_, territory) in zip(lung_slabs, territory_slabs, strict=True):
        inside = _is_lung(lung[:, 0], volume_hu[part])
        lobes[part] = ((territory.argmax(dim=1) + 1) * inside).to(torch.uint8).cpu().numpy()
    lobes = _without_islands(lobes)
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
    return window(_averaged(volume_hu, spacing_mm, GRID_SPACING_MM))


def _averaged(volume_hu: Tensor, spacing_mm: tuple[float, float, float], wanted_mm: float) -> Tensor:
    """The volume ``[1, 1, slices, rows, columns]`` on a grid of about that spacing."""
    shape = [max(1, round(n * mm / wanted_mm)) for n, mm in zip(volume_hu.shape, spacing_mm, strict=True)]
    return functional.interpolate(volume_hu.float()[None, None], shape, mode="area")


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
        ``[5, slices, rows, columns]``, one at the lobe and zero elsewhere, on a grid of about 2 mm.
    """
    fine_hu = _averaged(volume_hu, spacing_mm, FISSURE_GRID_SPACING_MM)[0, 0]
    fine_spacing_mm = [
        n * mm / n_fine for n, mm, n_fine in zip(volume_hu.shape, spacing_mm, fine_hu.shape, strict=True)
    ]
    fine = functional.interpolate(probabilities[None], fine_hu.shape, mode="trilinear")[0]
    labels = ((fine[1:].argmax(dim=0) + 1) * (fine[0] < 0.5)).to(torch.uint8).cpu().numpy()
    if labels.any():
        labels = nearest_label(follow_fissures(labels, fine_hu.cpu().numpy(), fine_spacing_mm))
    return torch.stack([torch.from_numpy(labels == lobe.label) for lobe in Lobe]).to(fine)


def lobe_confidence(probabilities: Tensor) -> dict[Lobe, float]:
    """Mean probability of each lobe where it wins; lobes that win nowhere are left out.

    Args:
        probabilities: ``[6, slices, rows, columns]``.
    """
    best, winners = probabilities.max(dim=0)
    return {lobe: float(best[winners == lobe.label].mean()) for lobe in Lobe if (winners == lobe.label).any()}


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


def keep_largest_pieces(probabilities: Tensor) -> Tensor:
    """Take a lobe's probability away wherever the lobe wins apart from its largest piece.

    Args:
        probabilities: ``[6, slices, rows, columns]``.

    Returns:
        The same shape; the next most probable class wins in the smaller pieces.
    """
    winners = probabilities.argmax(dim=0).cpu().numpy()
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


def _full_resolution_slabs(coarse: Tensor, shape: tuple[int, ...]) -> Iterator[tuple[slice, Tensor]]:
    """Trilinear interpolation in slabs ``[slices, channels, rows, columns]``, each with its place."""
    n_slices, n_rows, n_columns = shape
    n_coarse = coarse.shape[1]
    centres = (torch.arange(n_slices, device=coarse.device) + 0.5) * n_coarse / n_slices - 0.5
    centres = centres.clamp(0, n_coarse - 1)
    below = centres.long()
    above = (below + 1).clamp_max(n_coarse - 1)
    weight = (centres - below)[:, None, None, None]
    by_slice = coarse.movedim(1, 0)
    for start in range(0, n_slices, SLAB_SLICES):
        part = slice(start, start + SLAB_SLICES)
        slab = torch.lerp(by_slice[below[part]], by_slice[above[part]], weight[part])
        yield part, functional.interpolate(slab, (n_rows, n_columns), mode="bilinear", align_corners=False)
