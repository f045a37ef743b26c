"""Does the chest lie as the header says? Windpipe, spine, heart, aorta and liver tell, without a network.

Three questions are asked in turn, each of a chest that the answers before have put right: is the head up, is
the back behind, is the heart on the left. Every answer is a score that changes its sign when the chest is
turned over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lungct.dicom_read.plain_lungs import CELL_MM, BoolArray, FloatArray, average_cells, find_lungs
from lungct.records import CtVolume, Float64Array, QualityFlag

SMALLEST_LUNGS_ML = 300.0
SMALLEST_PIECE_SHARE = 0.15
"""Less lung, or a piece with less of the largest, tells nothing: it may be gas in bowel. Own decision."""

DOUBT = {"upside down": -0.2, "front and back swapped": -0.15, "left and right swapped": -0.15}
"""Below these scores a chest is said to lie in another way. In 13 real chests they are at least 0.67, 0.28
and 0.51; own decision."""

WINDPIPE_HU = -800.0
WINDPIPE_MM2 = (50.0, 700.0)
WINDPIPE_OFF_MM = 30.0
FEWEST_SECTIONS = 6
MIDDLE = 0.08
"""Sections of dark air as large as a windpipe's, near the middle; with fewer it counts for less.
What lies at most the last share of the height of the lungs from half-way says nothing. Own decision."""

SPINE_BAND_MM = 24.0
SPINE_SEARCH_MM = 40.0
SPINE_OFF_MM = (16.0, 136.0)
"""How far beside the middle, and before or behind the middle of the lungs, bone is looked for."""

BONE_HU = (150.0, 450.0)
PERSISTENT = 15
"""Percentile along the slices: a spine is in nearly all of them, breastbone and filled vessels are not."""

HEART_HEIGHT, AORTA_HEIGHT = (0.2, 0.65), (0.2, 0.7)
"""Between which shares of the height of the lungs they are looked for."""

AORTA_FROM_SPINE_MM = (8.0, 40.0)
"""How far before the middle of the spine its neighbours lie."""

HEART_MM, AORTA_MM = 60.0, 20.0
"""Excess of tissue to the left that counts as one."""

SOFT_HU = (20.0, 200.0)
LIVER_BELOW_MM, LIVER_HEIGHT, LIVER_OFF_MM = 60.0, 0.3, 20.0
LEAST_LIVER_ML = 200.0
"""Solid tissue from so far below the lungs to this share of their height, beside the spine."""

_IN_PLANE = np.zeros((3, 3, 3), bool)
_IN_PLANE[1] = ndimage.generate_binary_structure(2, 1)


@dataclass(frozen=True, eq=False)
class _Scene:
    """A chest on a coarse grid ``[slices, rows, columns]`` with axes S, P, L, if it lies as it should.

    Attributes:
        hu: means of the cells.
        lungs: aerated lung.
        spacing_mm: of the three axes.
    """

    hu: FloatArray
    lungs: BoolArray
    spacing_mm: tuple[float, float, float]

    @property
    def heights(self) -> tuple[int, int]:
        """Lowest slice with lungs, and the one above the highest."""
        areas = self.lungs.sum((1, 2))
        slices = np.flatnonzero(areas > 0.05 * areas.max())
        return int(slices[0]), int(slices[-1]) + 1

    @property
    def rows(self) -> tuple[int, int]:
        """First and last row with lungs."""
        rows = np.flatnonzero(self.lungs.any(axis=(0, 2)))
        return int(rows[0]), int(rows[-1])

    @property
    def columns(self) -> tuple[int, int]:
        """First and last column with lungs."""
        columns = np.flatnonzero(self.lungs.any(axis=(0, 1)))
        return int(columns[0]), int(columns[-1])

    @property
    def middle(self) -> float:
        """Column half-way between the sides of the lungs."""
        return sum(self.columns) / 2

    def part(self, low: float, high: float) -> slice:
        """Return the slices between two shares of the height of the lungs."""
        first, beyond = self.heights
        return slice(first + int(low * (beyond - first)), first + max(int(high * (beyond - first)), 1))

    def flipped(self, axis: int) -> _Scene:
        """Return the chest turned over along an axis."""
        return replace(self, hu=np.flip(self.hu, axis), lungs=np.flip(self.lungs, axis))


def flag_orientation(volume: CtVolume) -> tuple[QualityFlag, ...]:
    """Return one flag where the chest seems not to lie as its axes say, else none.

    Args:
        volume: canonical. What shows too little lung is not judged.
    """
    scene = _coarse_scene(volume)
    if np.count_nonzero(scene.lungs) * np.prod(scene.spacing_mm) < SMALLEST_LUNGS_ML * 1000:
        return ()
    odd = []
    for axis, (what, score) in enumerate(zip(DOUBT, (_head_up, _back_behind, _heart_left), strict=True)):
        if score(scene) < DOUBT[what]:
            odd.append(what)
            scene = scene.flipped(axis)
    if not odd:
        return ()
    message = f"the chest seems to lie {', '.join(odd)} against what its header says; check the images"
    return (QualityFlag("ORIENTATION_DOUBTFUL", message),)


def _coarse_scene(volume: CtVolume) -> _Scene:
    slice_mm, row_mm, column_mm = volume.spacing_mm
    step = max(1, round(CELL_MM / slice_mm))
    pairs = [average_cells(slice_hu, (row_mm, column_mm)) for slice_hu in volume.volume_hu[::step]]
    cells = np.stack([cell for cell, _ in pairs])
    lungs = find_lungs(cells, pairs[0][1])
    pieces, _ = ndimage.label(lungs)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    lungs = (sizes > SMALLEST_PIECE_SHARE * sizes.max())[pieces]
    in_plane_mm = (row_mm * max(1, round(CELL_MM / row_mm)), column_mm * max(1, round(CELL_MM / column_mm)))
    return _Scene(cells, lungs, (slice_mm * step, *in_plane_mm))


def _head_up(scene: _Scene) -> float:
    """Score the windpipe in the upper half of the lungs, full sections above and crescents below."""
    return _windpipe_above(scene) + 2 * (_fullness(scene, 0.75, 1.0) - _fullness(scene, 0.0, 0.25))


def _windpipe_above(scene: _Scene) -> float:
    """Compare the slices with something like a windpipe in the upper half with those in the lower one."""
    sections, n_sections = ndimage.label(scene.hu < WINDPIPE_HU, _IN_PLANE)
    numbers = np.arange(1, n_sections + 1)
    area_mm2 = np.bincount(sections.ravel(), minlength=n_sections + 1)[1:] * np.prod(scene.spacing_mm[1:])
    fits = numbers[(area_mm2 > WINDPIPE_MM2[0]) & (area_mm2 < WINDPIPE_MM2[1])]
    if not fits.size:
        return 0.0
    height, row, column = np.transpose(ndimage.center_of_mass(sections > 0, sections, fits))
    first, last = scene.rows
    margin = 0.15 * (last - first)
    is_near = np.abs(column - scene.middle) * scene.spacing_mm[2] < WINDPIPE_OFF_MM
    is_near &= (row > first + margin) & (row < last - margin)
    lowest, beyond = scene.heights
    share = (height - (lowest + beyond - 1) / 2) / (beyond - lowest)
    n_above, n_below = (len(np.unique(height[is_near & side])) for side in (share > MIDDLE, share < -MIDDLE))
    return float(n_above - n_below) / max(FEWEST_SECTIONS, n_above + n_below)


def _fullness(scene: _Scene, low: float, high: float) -> float:
    """Return how much of the boxes around both lungs is lung, as a mean of the slices of a part."""
    middle = int(scene.middle)
    shares = []
    for in_slice in scene.lungs[scene.part(low, high)]:
        sides = in_slice[:, :middle], in_slice[:, middle + 1 :]
        boxes = [ndimage.find_objects(side.astype(np.uint8)) for side in sides]
        sizes = [np.prod([axis.stop - axis.start for axis in box[0]]) for box in boxes if box]
        if sizes:
            shares.append(np.count_nonzero(in_slice) / sum(sizes))
    return float(np.mean(shares)) if shares else 0.0


def _back_behind(scene: _Scene) -> float:
    """Score the bone behind the lungs in all slices, and the bases behind the domes."""
    base = _mean_row(scene, 0.0, 0.2) - _mean_row(scene, 0.0, 1.0)
    first, last = scene.rows
    return _spine_behind(scene) + 2 * base / max(1, last - first)


def _mean_row(scene: _Scene, low: float, high: float) -> float:
    return float(np.nonzero(scene.lungs[scene.part(low, high)])[1].mean())


def _spine_behind(scene: _Scene) -> float:
    """Compare the density that persists along the slices behind the middle of the lungs with that before."""
    columns = _columns_around(scene, SPINE_BAND_MM)
    whole = scene.part(0.0, 1.0)
    dense_hu = np.sort(scene.hu[whole, :, columns], axis=2)[:, :, -3:].mean(2)
    reach = round(SPINE_OFF_MM[1] / scene.spacing_mm[1])
    padded = np.pad(dense_hu, ((0, 0), (reach, reach)), constant_values=-1000.0)
    profiles = [
        profile[row : row + 2 * reach + 1] for profile, row in zip(padded, _lung_rows(scene), strict=True)
    ]
    blurred = ndimage.maximum_filter1d(np.stack(profiles), 5, axis=1)
    persistent = np.percentile(blurred, PERSISTENT, axis=0)
    near = round(SPINE_OFF_MM[0] / scene.spacing_mm[1])
    behind, before = (
        float(np.clip(part.max(), 0, BONE_HU[1]))
        for part in (persistent[reach + near :], persistent[: reach - near + 1])
    )
    return (behind - before) / BONE_HU[1]


def _lung_rows(scene: _Scene) -> npt.NDArray[np.intp]:
    """Return the mean row of the lungs in every slice; that of all slices where one has no lungs."""
    lungs = scene.lungs[scene.part(0.0, 1.0)]
    n_cells = lungs.sum((1, 2))
    sums = (lungs.sum(2) * np.arange(lungs.shape[1])).sum(1)
    rows = np.where(n_cells > 0, sums / np.maximum(n_cells, 1), _mean_row(scene, 0.0, 1.0))
    return np.asarray(np.rint(rows).astype(np.intp))


def _columns_around(scene: _Scene, reach_mm: float) -> slice:
    reach = round(reach_mm / scene.spacing_mm[2])
    return slice(max(0, round(scene.middle) - reach), round(scene.middle) + reach + 1)


def _heart_left(scene: _Scene) -> float:
    """Score the heart and the aorta left of the spine and the liver on the right, at most one each."""
    spine_row, spine_column = _find_spine(scene)
    left_mm, right_mm = _gaps_mm(scene, spine_column)
    excess_mm = left_mm - right_mm
    first, _ = scene.rows
    middle_row = round(_mean_row(scene, 0.0, 1.0))
    near, far = (round(off_mm / scene.spacing_mm[1]) for off_mm in AORTA_FROM_SPINE_MM)
    heart = _mean(excess_mm[scene.part(*HEART_HEIGHT), first:middle_row]) / HEART_MM
    aorta = (
        _median(excess_mm[scene.part(*AORTA_HEIGHT), max(0, spine_row - far) : max(0, spine_row - near)])
        / AORTA_MM
    )
    terms = (heart, aorta, _liver_right(scene, spine_column))
    return float(np.clip(terms, -1, 1).sum())


def _find_spine(scene: _Scene) -> tuple[int, int]:
    """Return row and column of the bone behind the middle of the lungs; their middle without bone."""
    columns = _columns_around(scene, SPINE_SEARCH_MM)
    bone = np.clip(scene.hu[scene.part(0.0, 1.0)] - BONE_HU[0], 0, BONE_HU[1] - BONE_HU[0])
    behind = round(_mean_row(scene, 0.0, 1.0) + 2 * CELL_MM / scene.spacing_mm[1])
    density = bone[:, behind:, columns].sum(0)
    if not density.any():
        return scene.rows[1], round(scene.middle)
    row, column = ndimage.center_of_mass(density)
    return behind + round(row), min(columns.start + round(column), scene.hu.shape[2] - 2)


def _gaps_mm(scene: _Scene, spine_column: int) -> tuple[Float64Array, Float64Array]:
    """Measure ``[slices, rows]`` from the spine to both lungs, left first; NaN where one is missing."""
    left, right = scene.lungs[:, :, spine_column + 1 :], scene.lungs[:, :, spine_column::-1]
    both = left.any(2) & right.any(2)
    gaps = (np.where(both, side.argmax(2) * scene.spacing_mm[2], np.nan) for side in (left, right))
    left_mm, right_mm = gaps
    return left_mm + scene.spacing_mm[2], right_mm


def _liver_right(scene: _Scene, spine_column: int) -> float:
    """Compare the solid tissue on the right of the upper abdomen with that on the left."""
    slice_mm, _, column_mm = scene.spacing_mm
    first, _ = scene.heights
    part = slice(max(0, first - round(LIVER_BELOW_MM / slice_mm)), scene.part(0.0, LIVER_HEIGHT).stop)
    hu = scene.hu[part, scene.rows[0] : scene.rows[1] + 1]
    solid = ndimage.binary_erosion((hu > SOFT_HU[0]) & (hu < SOFT_HU[1]), iterations=2)
    off, (start, stop) = round(LIVER_OFF_MM / column_mm), scene.columns
    right = np.count_nonzero(solid[:, :, start : max(start, spine_column - off)])
    left = np.count_nonzero(solid[:, :, spine_column + off : stop + 1])
    least = LEAST_LIVER_ML * 1000 / np.prod(scene.spacing_mm)
    return float((right - left) / max(least, right + left))


def _mean(values: Float64Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else 0.0


def _median(values: Float64Array) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else 0.0
