"""Grey pictures of the chest in the lung window, with contours, for people."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from lungct.findings.quality import LOBES_IN_DOUBT
from lungct.networks.inputs import as_tensor, window
from lungct.records import Analysis, HuArray, Lobe, MaskArray

RgbArray = npt.NDArray[np.uint8]

OPACITY_RGB = (230, 159, 0)
LUNG_RGB = (86, 180, 233)
LOBE_RGB: Final = {
    Lobe.LEFT_UPPER: LUNG_RGB,
    Lobe.LEFT_LOWER: (0, 114, 178),
    Lobe.RIGHT_UPPER: (0, 158, 115),
    Lobe.RIGHT_MIDDLE: (240, 228, 66),
    Lobe.RIGHT_LOWER: (204, 121, 167),
}
"""Colours of the Okabe-Ito palette, told apart with any colour vision."""

PIXELS_PER_MM = 2.0
SCALE_BAR_MM = 50.0

READABLE: Final[dict[str, Any]] = {"fill": "white", "stroke_fill": "black", "stroke_width": 2}
"""White letters with a black rim, on any grey."""

ON_WHITE: Final[dict[str, Any]] = {"fill": "black", "stroke_fill": "white", "stroke_width": 2}
"""Black letters with a white rim, for pictures that are white where nothing is drawn."""

CONTOUR_PIXELS = 3
"""Width of contours; thinner ones are lost on a printed page. Own decision."""

AROUND_LUNGS_MM = 25.0
"""Width of the chest wall; what lies further out only makes the lungs smaller. Own decision."""


@dataclass(frozen=True, eq=False)
class Plane:
    """A slice of the chest as it is drawn: row 0 anterior or cranial, column 0 the patient's right.

    Attributes:
        plane_hu, lobes, opacity: ``[rows, columns]``.
        spacing_mm: distance of rows and of columns.
        doubt: stands behind the letters of the sides.
    """

    plane_hu: HuArray
    lobes: MaskArray
    opacity: MaskArray
    spacing_mm: tuple[float, float]
    doubt: str = ""


def find_most_affected_slice(analysis: Analysis) -> int:
    """Return the slice with the largest opacity area; without opacities, with the largest lung area."""
    area = analysis.opacities.mask.sum(axis=(1, 2), dtype=np.int64)
    if not area.any():
        area = (analysis.anatomy.lobes > 0).sum(axis=(1, 2), dtype=np.int64)
    return int(area.argmax())


def cut_transverse(analysis: Analysis, index: int) -> Plane:
    """Return a transverse slice, seen from the feet as radiologists do."""
    return _cut(analysis, (index,), analysis.chest.volume.spacing_mm[1:])


def cut_coronal(analysis: Analysis, row: int) -> Plane:
    """Return the coronal plane of a row, head up, seen from the front."""
    slice_mm, _, column_mm = analysis.chest.volume.spacing_mm
    return _cut(analysis, (slice(None, None, -1), row), (slice_mm, column_mm))


def _cut(analysis: Analysis, place: tuple[slice | int, ...], spacing_mm: tuple[float, float]) -> Plane:
    volume_hu, lobes, mask = analysis.chest.volume.volume_hu, analysis.anatomy.lobes, analysis.opacities.mask
    return Plane(volume_hu[place], lobes[place], mask[place], spacing_mm, doubt_sides(analysis))


def doubt_sides(analysis: Analysis) -> str:
    """Return what stands behind the letters of sides in pictures: a question mark where they may be wrong."""
    return "?" if any(flag.code == LOBES_IN_DOUBT for flag in analysis.findings.flags) else ""


def crop_to_lungs(plane: Plane, lobes: MaskArray) -> Plane:
    """Crop a transverse plane to what the lungs fill on any slice, with the chest wall around them.

    Without lobes ``[slices, rows, columns]`` of the whole volume the plane stays as it is.
    """
    box = []
    for axis, step_mm in enumerate(plane.spacing_mm, start=1):
        inside = np.flatnonzero(lobes.any(axis=(0, 3 - axis)))
        if not inside.size:
            return plane
        margin = round(AROUND_LUNGS_MM / step_mm)
        box.append(slice(max(0, inside[0] - margin), inside[-1] + 1 + margin))
    place = box[0], box[1]
    return replace(
        plane, plane_hu=plane.plane_hu[place], lobes=plane.lobes[place], opacity=plane.opacity[place]
    )


def draw(plane: Plane, contours: bool) -> Image.Image:
    """Draw a plane in the lung window with side marks and a scale bar, on request with contours of masks."""
    size = tuple(
        round(n * mm * PIXELS_PER_MM)
        for n, mm in zip(plane.plane_hu.shape[::-1], plane.spacing_mm[::-1], strict=True)
    )
    picture = (
        Image.fromarray(to_grey_levels(plane.plane_hu)).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    )
    if contours:
        pixels = np.array(picture)
        for mask, rgb in ((plane.lobes > 0, LUNG_RGB), (plane.opacity > 0, OPACITY_RGB)):
            large = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
            pixels[outline(large, CONTOUR_PIXELS)] = rgb
        picture = Image.fromarray(pixels)
    mark(picture, f"R{plane.doubt}", f"L{plane.doubt}")
    return picture


def to_grey_levels(plane_hu: HuArray) -> RgbArray:
    """Return the lung window of a plane ``[rows, columns]``, from black to white."""
    grey: RgbArray = (window(as_tensor(plane_hu)).numpy() * 255).astype(np.uint8)
    return grey


def outline(mask: npt.NDArray[np.bool_], width: int = 1) -> npt.NDArray[np.bool_]:
    """Return the pixels of a mask ``[rows, columns]`` along its border, inside, ``width`` pixels wide."""
    border: npt.NDArray[np.bool_] = mask & ~ndimage.binary_erosion(mask, iterations=width)
    return border


def mark(
    picture: Image.Image,
    left: str,
    right: str,
    pixels_per_mm: float = PIXELS_PER_MM,
    letters: dict[str, Any] = READABLE,
) -> None:
    """Write side marks and a scale bar into a picture, grey or coloured."""
    pen = ImageDraw.Draw(picture)
    width, height = picture.size
    font_size = max(picture.size) // 18
    for letter, x, anchor in ((left, font_size // 2, "lm"), (right, width - font_size // 2, "rm")):
        pen.text((x, height / 2), letter, anchor=anchor, font_size=font_size, **letters)
    bar = SCALE_BAR_MM * pixels_per_mm
    begin, bottom = font_size // 2, height - font_size
    pen.line((begin - 2, bottom, begin + bar + 2, bottom), fill=letters["stroke_fill"], width=8)
    pen.line((begin, bottom, begin + bar, bottom), fill=letters["fill"], width=4)
    label = f"{SCALE_BAR_MM / 10:.0f} cm"
    pen.text((begin, bottom - 8), label, anchor="ls", font_size=font_size, **letters)


def to_file(picture: Image.Image, **options: Any) -> bytes:
    """Return the bytes of an image file; options as for :meth:`PIL.Image.Image.save`."""
    file = BytesIO()
    picture.save(file, **options)
    return file.getvalue()
