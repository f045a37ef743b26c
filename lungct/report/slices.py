"""Every transverse slice as a small picture and its contours as a transparent one, for the HTML report."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from lungct.records import Analysis
from lungct.report.pictures import LUNG_RGB, OPACITY_RGB, Plane, cut_transverse, mark, to_file, to_grey_levels

LONGEST_SIDE = 400
"""Own decision: 300 slices stay below 10 MB."""

JPEG_QUALITY = 80
_LUNG, _OPACITY = 1, 2


def draw_slices(analysis: Analysis) -> Iterator[tuple[bytes, bytes]]:
    """JPEG and contours (PNG) of every slice, from head to feet."""
    volume = analysis.chest.volume
    for index in range(len(volume.volume_hu) - 1, -1, -1):
        plane = cut_transverse(volume, analysis.anatomy, analysis.opacities, index)
        height_mm, width_mm = np.multiply(plane.plane_hu.shape, plane.spacing_mm)
        pixels_per_mm = LONGEST_SIDE / max(height_mm, width_mm)
        size = round(width_mm * pixels_per_mm), round(height_mm * pixels_per_mm)
        yield _jpeg(plane, size, pixels_per_mm), _contours(plane, size)


def _jpeg(plane: Plane, size: tuple[int, int], pixels_per_mm: float) -> bytes:
    picture = Image.fromarray(to_grey_levels(plane.plane_hu)).resize(size, Image.Resampling.BILINEAR)
    mark(picture, "R", "L", pixels_per_mm)
    return to_file(picture, format="JPEG", quality=JPEG_QUALITY)


def _contours(plane: Plane, size: tuple[int, int]) -> bytes:
    lines = np.zeros(size[::-1], np.uint8)
    for value, mask in ((_LUNG, plane.lobes), (_OPACITY, plane.opacity)):
        large = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)) > 0
        lines[large & ~find_inner_pixels(large)] = value
    picture = Image.fromarray(lines, mode="P")
    picture.putpalette([0, 0, 0, *LUNG_RGB, *OPACITY_RGB])
    return to_file(picture, format="PNG", transparency=0, optimize=False)


def find_inner_pixels(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels whose four neighbours belong to the mask."""
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1] = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    return inner
