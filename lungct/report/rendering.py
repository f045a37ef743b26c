"""The lungs in three dimensions: translucent lobes with airways, vessels and opacities inside.

Direct volume rendering in PyTorch (emission and absorption; Max 1995, "Optical models for direct volume
rendering", IEEE TVCG 1(2)): nothing to install, no display, no driver that a container could lack (ADR 0019).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from lungct.records import CtVolume, Float64Array, Lobe, MaskArray
from lungct.report.pictures import LOBE_RGB, OPACITY_RGB, PIXELS_PER_MM, mark

GRID_MM = 1.25
"""Own decision: finer voxels cost time and show no more on a printed page."""

MARGIN_MM = 8.0
SOFT_EDGE = 3
"""Voxels beyond a mask into which blurring carries it."""

AMBIENT = 0.3
"""Share of light that surfaces get whichever way they look; the rest comes from the viewer."""

AIRWAY_RGB: Final = (60, 60, 60)
VESSEL_RGB: Final = (150, 50, 50)


@dataclass(frozen=True)
class Material:
    """How a structure looks.

    Attributes:
        surface: share of light that its surface stops, met head on.
        per_mm: share of light that a millimetre of its inside stops.
    """

    rgb: tuple[int, int, int]
    surface: float
    per_mm: float


_LOBES = {lobe: Material(rgb, surface=0.16, per_mm=0.0015) for lobe, rgb in LOBE_RGB.items()}
_AIRWAYS = Material(AIRWAY_RGB, surface=0.7, per_mm=0.1)
_VESSELS = Material(VESSEL_RGB, surface=0.5, per_mm=0.15)
_OPACITIES = Material(OPACITY_RGB, surface=0.8, per_mm=0.2)


@dataclass(frozen=True, eq=False)
class Structures:
    """What is drawn; all masks on one grid with axes S, P, L."""

    lobes: MaskArray
    opacity: MaskArray
    airways: MaskArray
    vessels: MaskArray


@torch.inference_mode()
def render_lungs(volume: CtVolume, structures: Structures) -> tuple[Image.Image, Image.Image]:
    """The lungs from the front and from the left, parallel projection, on white.

    Args:
        volume: canonical volume; only its grid is looked at.
        structures: masks on that grid.
    """
    canvas = _Canvas(structures, volume.spacing_mm)
    for mask, material in _parts(structures):
        canvas.add(mask, material)
    return (
        _picture(_project(canvas.depth, canvas.front, axis=1, backwards=False), "R", "L"),
        _picture(_project(canvas.depth, canvas.left, axis=2, backwards=True), "A", "P"),
    )


def _parts(structures: Structures) -> Iterator[tuple[npt.NDArray[np.bool_], Material]]:
    for lobe in Lobe:
        yield structures.lobes == lobe.label, _LOBES[lobe]
    for mask, material in (
        (structures.airways, _AIRWAYS),
        (structures.vessels, _VESSELS),
        (structures.opacity, _OPACITIES),
    ):
        yield mask > 0, material


class _Canvas:
    """Optical depth, and light towards two viewers, of every voxel of an isotropic grid around the lungs.

    Attributes:
        depth: ``[slices, rows, columns]`` of a ray of one voxel.
        front: ``[3, slices, rows, columns]``, red, green and blue light towards the front.
        left: the same towards the left.
    """

    def __init__(self, structures: Structures, spacing_mm: tuple[float, float, float]) -> None:
        drawn = (structures.lobes > 0) | (structures.airways > 0)
        box = _bounding_box(drawn) or [(0, n) for n in drawn.shape]
        self.voxels_per_source = [mm / GRID_MM for mm in spacing_mm]
        self.begin = [
            math.floor(begin * ratio - MARGIN_MM / GRID_MM)
            for (begin, _), ratio in zip(box, self.voxels_per_source, strict=True)
        ]
        shape = [
            math.ceil(end * ratio + MARGIN_MM / GRID_MM) - begin
            for (_, end), ratio, begin in zip(box, self.voxels_per_source, self.begin, strict=True)
        ]
        self.depth = torch.zeros(shape)
        self.front, self.left = torch.zeros(3, *shape), torch.zeros(3, *shape)

    def add(self, mask: npt.NDArray[np.bool_], material: Material) -> None:
        """Add a structure; only the box around it costs time."""
        box = _bounding_box(mask)
        if box is None:
            return
        soft = torch.from_numpy(mask[tuple(slice(*part) for part in box)]).float()
        place = []
        for axis, ((begin, end), ratio) in enumerate(zip(box, self.voxels_per_source, strict=True)):
            low = max(math.floor(begin * ratio) - SOFT_EDGE, self.begin[axis])
            high = min(math.ceil(end * ratio) + SOFT_EDGE, self.begin[axis] + self.depth.shape[axis])
            places = np.asarray((np.arange(low, high) + 0.5) / ratio - 0.5 - begin, np.float64)
            soft = _resampled(soft, axis, places, ratio)
            place.append(slice(low - self.begin[axis], high - self.begin[axis]))
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


def _bounding_box(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]] | None:
    """First and past-the-last index along every axis; None for an empty mask."""
    box = []
    for axis in range(3):
        found = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        if not found.size:
            return None
        box.append((int(found[0]), int(found[-1]) + 1))
    return box


def _resampled(soft: Tensor, axis: int, places: Float64Array, ratio: float) -> Tensor:
    """Linear interpolation along one axis, 0 outside, and a blur on the coarser of both grids.

    Args:
        soft: values from 0 to 1.
        axis: of three.
        places: where to sample, in indices of ``soft``.
        ratio: samples per index.
    """
    padding = [0, 0] * (2 - axis) + [2, 2]
    soft = functional.pad(soft, padding)
    if ratio < 1:
        soft = _blurred(soft, axis)
    inside = np.clip(places + 2, 0, soft.shape[axis] - 1 - 1e-6)
    below = torch.from_numpy(np.floor(inside).astype(np.int64))
    weight = torch.from_numpy((inside % 1).astype(np.float32)).view(
        [-1 if i == axis else 1 for i in range(3)]
    )
    sampled = torch.lerp(soft.index_select(axis, below), soft.index_select(axis, below + 1), weight)
    return sampled if ratio < 1 else _blurred(sampled, axis)


def _blurred(soft: Tensor, axis: int) -> Tensor:
    """Weighted with 1, 2, 1 along an axis; the ends stay."""
    middle = soft.narrow(axis, 1, soft.shape[axis] - 2)
    around = soft.narrow(axis, 0, middle.shape[axis]) + soft.narrow(axis, 2, middle.shape[axis])
    blurred = soft.clone()
    blurred.narrow(axis, 1, middle.shape[axis]).copy_(middle / 2 + around / 4)
    return blurred


def _project(depth: Tensor, light: Tensor, axis: int, *, backwards: bool) -> Tensor:
    """``[rows, columns, 3]``, head up: light that gets through to the viewer, on white."""
    if backwards:
        depth, light = depth.flip(axis), light.flip(axis + 1)
    before = depth.cumsum(axis) - depth
    stopped = -torch.expm1(-depth)
    weight = (-before).exp() * stopped / depth.clamp(min=1e-6)
    seen = (light * weight).sum(dim=axis + 1)
    through = (-depth.sum(dim=axis)).exp()
    return (seen + through).flip(1).permute(1, 2, 0)


def _picture(pixels: Tensor, left: str, right: str) -> Image.Image:
    grey_levels = (pixels.clamp(0, 1) * 255).round().byte().numpy()
    scale = PIXELS_PER_MM * GRID_MM
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    picture = Image.fromarray(grey_levels).resize(size, Image.Resampling.BICUBIC)
    mark(picture, left, right)
    return picture
