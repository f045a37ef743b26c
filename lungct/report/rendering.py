"""The lungs in three dimensions: translucent lobes with airways, vessels and opacities inside.

Direct volume rendering in PyTorch (emission and absorption; Max 1995, "Optical models for direct volume
rendering", IEEE TVCG 1(2)): nothing to install, no display, no driver that a container could lack (ADR 0019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from lungct.records import BronchovascularTree, CtVolume, Float64Array, Lobe, MaskArray
from lungct.report.pictures import LOBE_RGB, ON_WHITE, OPACITY_RGB, PIXELS_PER_MM, mark

GRID_MM = 1.25
"""Own decision: finer voxels cost time and show no more on a printed page."""

MARGIN_MM = 8.0
SOFT_EDGE = 3
"""Voxels beyond a mask into which blurring carries it."""

AMBIENT = 0.3
"""Share of light that surfaces get whichever way they face; the rest comes from the viewer. Own decision."""

AIRWAY_RGB: Final = (60, 60, 60)
VESSEL_RGB: Final = (150, 50, 50)


@dataclass(frozen=True)
class Material:
    """Colour and opaqueness of a structure.

    Attributes:
        surface: share of light that its surface stops, met head on.
        per_mm: share of light that a millimetre of its inside stops.
    """

    rgb: tuple[int, int, int]
    surface: float
    per_mm: float


_LOBES = [Material(LOBE_RGB[lobe], surface=0.16, per_mm=0.0015) for lobe in Lobe]
_AIRWAYS = Material(AIRWAY_RGB, surface=0.7, per_mm=0.1)
_VESSELS = Material(VESSEL_RGB, surface=0.2, per_mm=0.05)
_OPACITIES = Material(OPACITY_RGB, surface=0.85, per_mm=0.4)


@torch.inference_mode()
def render_lungs(
    volume: CtVolume, lobes: MaskArray, opacity: MaskArray, tree: BronchovascularTree, doubt: str = ""
) -> tuple[Image.Image, Image.Image]:
    """Draw the lungs from the front and from the left, in parallel projection on white.

    All masks lie on the grid of a canonical volume, of which only the grid is used; ``doubt`` stands behind
    the letters of the sides.
    """
    parts = [
        *_find_parts(lobes, _LOBES),
        *_find_parts(tree.airways, (_AIRWAYS,)),
        *_find_parts(tree.vessels, (_VESSELS,)),
        *_find_parts(opacity, (_OPACITIES,)),
    ]
    canvas = _Canvas([box for _, box, _ in parts], volume)
    for mask, box, material in parts:
        canvas.add(mask, box, material)
    return (
        _picture(_project(canvas.depth, canvas.front, axis=1, backwards=False), f"R{doubt}", f"L{doubt}"),
        _picture(_project(canvas.depth, canvas.left, axis=2, backwards=True), f"A{doubt}", f"P{doubt}"),
    )


_Box = tuple[slice, slice, slice]
BoolArray = npt.NDArray[np.bool_]


def _find_parts(labels: MaskArray, materials: Sequence[Material]) -> list[tuple[BoolArray, _Box, Material]]:
    """Return mask and box of every label from 1 on that has voxels."""
    boxes = ndimage.find_objects(labels, max_label=len(materials))
    return [
        (labels[box] == label, box, material)
        for label, (box, material) in enumerate(zip(boxes, materials, strict=True), start=1)
        if box is not None
    ]


class _Canvas:
    """Optical depth, and light towards two viewers, of every voxel of an isotropic grid around the lungs.

    Attributes:
        depth: ``[slices, rows, columns]`` of a ray of one voxel.
        front: ``[3, slices, rows, columns]``, red, green and blue light towards the front.
        left: the same towards the left.
    """

    def __init__(self, boxes: Sequence[_Box], volume: CtVolume) -> None:
        self.voxels_per_source = [mm / GRID_MM for mm in volume.spacing_mm]
        self.begin, shape = [], []
        for axis, ratio in enumerate(self.voxels_per_source):
            begin = min((box[axis].start for box in boxes), default=0)
            end = max((box[axis].stop for box in boxes), default=volume.volume_hu.shape[axis])
            self.begin.append(math.floor(begin * ratio - MARGIN_MM / GRID_MM))
            shape.append(math.ceil(end * ratio + MARGIN_MM / GRID_MM) - self.begin[axis])
        self.depth = torch.zeros(shape)
        self.front, self.left = torch.zeros(3, *shape), torch.zeros(3, *shape)

    def add(self, mask: BoolArray, box: _Box, material: Material) -> None:
        """Add a structure; only the box around it costs time."""
        soft = torch.from_numpy(mask).float()
        place = [slice(0)] * 3
        for axis in (1, 2, 0):  # those that shrink most come first
            begin, end, ratio = box[axis].start, box[axis].stop, self.voxels_per_source[axis]
            low = max(math.floor(begin * ratio) - SOFT_EDGE, self.begin[axis])
            high = min(math.ceil(end * ratio) + SOFT_EDGE, self.begin[axis] + self.depth.shape[axis])
            places = np.asarray((np.arange(low, high) + 0.5) / ratio - 0.5 - begin, np.float64)
            soft = _resample(soft, axis, places, ratio)
            place[axis] = slice(low - self.begin[axis], high - self.begin[axis])
        self._light(soft, material, tuple(place))

    def _light(self, soft: Tensor, material: Material, place: tuple[slice, ...]) -> None:
        gradient = torch.gradient(soft)
        steepness = torch.stack(gradient).square().sum(dim=0).sqrt()
        depth = steepness * -math.log(1 - material.surface)
        depth += soft * (-math.log(1 - material.per_mm) * GRID_MM)
        self.depth[place] += depth
        for towards, axis in ((self.front, 1), (self.left, 2)):
            facing = gradient[axis].abs() / steepness.clamp(min=1e-6)
            lit = depth * (AMBIENT + (1 - AMBIENT) * facing)
            for channel, level in zip(towards, material.rgb, strict=True):
                channel[place] += lit * (level / 255)


def _resample(soft: Tensor, axis: int, places: Float64Array, ratio: float) -> Tensor:
    """Interpolate linearly along one axis, with 0 outside, and blur on the coarser of both grids.

    Args:
        soft: values from 0 to 1.
        axis: of three.
        places: where to sample, in indices of ``soft``.
        ratio: samples per index.
    """
    padding = [0, 0] * (2 - axis) + [2, 2]
    soft = functional.pad(soft, padding)
    if ratio < 1:
        soft = _blur(soft, axis)
    inside = np.clip(places + 2, 0, soft.shape[axis] - 1 - 1e-6)
    below = torch.from_numpy(np.floor(inside).astype(np.int64))
    weight = torch.from_numpy((inside % 1).astype(np.float32)).view(
        [-1 if i == axis else 1 for i in range(3)]
    )
    sampled = torch.lerp(soft.index_select(axis, below), soft.index_select(axis, below + 1), weight)
    return sampled if ratio < 1 else _blur(sampled, axis)


def _blur(soft: Tensor, axis: int) -> Tensor:
    """Blur with the weights 1, 2, 1 along an axis; the ends stay."""
    middle = soft.narrow(axis, 1, soft.shape[axis] - 2)
    around = soft.narrow(axis, 0, middle.shape[axis]) + soft.narrow(axis, 2, middle.shape[axis])
    blurred = soft.clone()
    blurred.narrow(axis, 1, middle.shape[axis]).copy_(middle / 2 + around / 4)
    return blurred


def _project(depth: Tensor, light: Tensor, axis: int, *, backwards: bool) -> Tensor:
    """Return the light that reaches the viewer, on white: ``[rows, columns, 3]``, head up."""
    if backwards:
        depth, light = depth.flip(axis), light.flip(axis + 1)
    before = depth.cumsum(axis) - depth
    stopped = -torch.expm1(-depth)
    weight = (-before).exp() * stopped / depth.clamp(min=1e-6)
    seen = (light * weight).sum(dim=axis + 1)
    through = (-depth.sum(dim=axis)).exp()
    return (seen + through).flip(1).permute(1, 2, 0)


def _picture(pixels: Tensor, left: str, right: str) -> Image.Image:
    to_grey_levels = (pixels.clamp(0, 1) * 255).round().byte().numpy()
    scale = PIXELS_PER_MM * GRID_MM
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    picture = Image.fromarray(to_grey_levels).resize(size, Image.Resampling.BICUBIC)
    mark(picture, left, right, letters=ON_WHITE)
    return picture
