"""The grid on which thin tubes are looked for, and the filter that makes them stand out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from lungct.networks.inputs import as_tensor
from lungct.records import MaskArray

Box = tuple[slice, slice, slice]

MASK_BORDER = 0.5
"""Value at which a resampled mask ends, so that on average it gets neither wider nor narrower."""


@dataclass(frozen=True)
class WorkGrid:
    """Part of a volume and the grid laid over it.

    Attributes:
        box: the part, in voxels of the volume; the grid covers it exactly.
        spacing_mm: of the grid; differs from the wanted spacing by rounding only.
    """

    box: Box
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel of the grid."""
        return float(np.prod(self.spacing_mm))


def lay_grid(
    lobes: MaskArray, spacing_mm: Sequence[float], wanted_mm: Sequence[float], margin_mm: Sequence[float]
) -> WorkGrid:
    """Lay a grid around the lungs.

    Args:
        lobes: ``[slices, rows, columns]``, not empty.
        spacing_mm: of the volume.
        wanted_mm: of the new grid.
        margin_mm: how far it reaches beyond the lungs: caudal, cranial, and on all sides in the plane.
    """
    caudal_mm, cranial_mm, around_mm = margin_mm
    margins_mm = ((caudal_mm, cranial_mm), (around_mm, around_mm), (around_mm, around_mm))
    box, shape = [], []
    for axis, (before_mm, after_mm) in enumerate(margins_mm):
        inside = np.flatnonzero(lobes.any(axis=tuple({0, 1, 2} - {axis})))
        start = max(0, int(inside[0] - np.ceil(before_mm / spacing_mm[axis])))
        stop = min(lobes.shape[axis], int(inside[-1] + 1 + np.ceil(after_mm / spacing_mm[axis])))
        box.append(slice(start, stop))
        shape.append(max(1, round((stop - start) * spacing_mm[axis] / wanted_mm[axis])))
    got_mm = [(b.stop - b.start) * mm / n for b, mm, n in zip(box, spacing_mm, shape, strict=True)]
    return WorkGrid(
        (box[0], box[1], box[2]), (shape[0], shape[1], shape[2]), (got_mm[0], got_mm[1], got_mm[2])
    )


def to_grid(array: npt.NDArray[np.generic], grid: WorkGrid, device: torch.device | str = "cpu") -> Tensor:
    """Bring the box of ``array`` to the grid, float32, interpolated linearly; averaged where much finer."""
    part = as_tensor(array[grid.box]).to(device).float()
    much_finer = [n > 1.6 * wanted for n, wanted in zip(part.shape, grid.shape, strict=True)]
    coarser = [w if finer else n for finer, n, w in zip(much_finer, part.shape, grid.shape, strict=True)]
    return resample(resample(part, coarser, "area"), grid.shape)


def from_grid(mask: npt.NDArray[np.bool_], grid: WorkGrid) -> npt.NDArray[np.bool_]:
    """Bring a mask from the work grid to the voxels of the box, those with more than half inside."""
    shape = [part.stop - part.start for part in grid.box]
    if shape == list(mask.shape):
        return mask
    return np.asarray((resample(torch.from_numpy(mask).float(), shape) > MASK_BORDER).numpy())


def resample(values: Tensor, shape: Sequence[int], mode: str = "trilinear") -> Tensor:
    """Resample ``[slices, rows, columns]`` to ``shape``; return the same tensor where it has it already."""
    if tuple(values.shape) == tuple(shape):
        return values
    fitted: Tensor = functional.interpolate(values[None, None], tuple(shape), mode=mode)[0, 0]
    return fitted


def measure_narrow_height(values: Tensor, width_mm: float, spacing_mm: Sequence[float]) -> Tensor:
    """Measure how far bright tubes narrower than ``width_mm`` stand out from their surroundings; from 0 on.

    This is the value less the largest of its greyscale openings in the three planes: a tube is narrow in all
    of them, a sheet is not in the plane along it.

    Args:
        values: ``[slices, rows, columns]``, int16.
        width_mm: side of the square window.
        spacing_mm: of the three axes.
    """
    widths = [_odd(width_mm / step) for step in spacing_mm]
    opened = torch.full_like(values, torch.iinfo(values.dtype).min)
    for plane in ((0, 1), (0, 2), (1, 2)):
        eroded = slide_extreme(values, plane, widths, torch.minimum)
        opened = torch.maximum(opened, slide_extreme(eroded, plane, widths, torch.maximum))
    return values - opened


def dilate(mask: Tensor, reach_mm: float, spacing_mm: Sequence[float]) -> Tensor:
    """Add to a mask all voxels within ``reach_mm`` to every side of its own, along the axes."""
    widths = [_odd(2 * reach_mm / step, smallest=1) for step in spacing_mm]
    return slide_extreme(mask, (0, 1, 2), widths, torch.maximum)


def _odd(width: float, smallest: int = 3) -> int:
    return max(smallest, 2 * round((width - 1) / 2) + 1)


def slide_extreme(
    values: Tensor, axes: Sequence[int], widths: Sequence[int], extreme: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Slide an extreme over a centred window, axis by axis, in a logarithmic number of passes."""
    for axis in axes:
        width = widths[axis]
        half = [width // 2 if k == axis else n for k, n in enumerate(values.shape)]
        first, last = values.narrow(axis, 0, 1), values.narrow(axis, values.shape[axis] - 1, 1)
        values = torch.cat([first.expand(half), values, last.expand(half)], axis)
        reach = 1
        while reach < width:
            step = min(reach, width - reach)
            n = values.shape[axis] - step
            values = extreme(values.narrow(axis, 0, n), values.narrow(axis, step, n))
            reach += step
    return values
