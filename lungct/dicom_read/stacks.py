"""Split what one Series Instance UID holds into stacks that belong together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial

import numpy as np

from lungct.dicom_read.slice_grid import (
    MAX_GAP_MM,
    ORIENTATION_TOLERANCE,
    PIXEL_SPACING_TOLERANCE_MM,
    ROUNDING_MM,
    slice_distances_mm,
)
from lungct.records import SliceHeader

MOST_PASSES = 12
"""Own decision: an attribute with more values differs from slice to slice and tells no passes apart."""
LEAST_REPEATED_SHARE = 0.1
"""Own decision: fewer repeated positions are copies of slices, more are another pass."""

_TELLING_TYPES = {
    "LOCALIZER", "SCOUT", "MPR", "CSA MPR", "CPR", "MIP", "MINIP", "REFORMATTED", "PROJECTION IMAGE", "VRT",
    "SCREEN SAVE", "MASK", "SUBTRACTION",
}  # fmt: skip
"""Values of Image Type (0008,0008) that slices of one stack share."""

Slices = list[SliceHeader]


def split_stacks(slices: Sequence[SliceHeader]) -> list[Slices]:
    """Return the stacks of a series, the largest first, each in the given order.

    Images of one stack have one size, class, kind of image, kernel, orientation and pixel spacing. Where
    their positions lie between each other or repeat, acquisition number, contrast agent, phase or time tell
    the passes apart, else the order in which they count up.
    """
    stacks = [one for alike in _alike(slices) for one in _passes(alike)]
    return sorted(stacks, key=len, reverse=True)


def _alike(slices: Sequence[SliceHeader]) -> Iterator[Slices]:
    groups: dict[Hashable, list[Slices]] = defaultdict(list)
    for image in slices:
        same_kind = groups[_kind(image)]
        group = next((one for one in same_kind if _lie_alike(one[0], image)), None)
        if group is None:
            same_kind.append([image])
        else:
            group.append(image)
    return (one for same_kind in groups.values() for one in same_kind)


def _kind(image: SliceHeader) -> Hashable:
    return (
        image.rows,
        image.columns,
        image.sop_class_uid,
        frozenset(_TELLING_TYPES.intersection(image.image_type)),
        image.marks[:1],
        image.position_mm is None,
    )


def _lie_alike(one: SliceHeader, other: SliceHeader) -> bool:
    return _are_close(one.orientation, other.orientation, ORIENTATION_TOLERANCE) and _are_close(
        one.pixel_spacing_mm, other.pixel_spacing_mm, PIXEL_SPACING_TOLERANCE_MM
    )


def _are_close(one: Sequence[float] | None, other: Sequence[float] | None, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    return all(abs(a - b) <= tolerance for a, b in zip(one, other, strict=True))


def _passes(slices: Slices) -> list[Slices]:
    """Split slices that lie alike into passes of the scanner, where one pass cannot hold them all."""
    if slices[0].orientation is None or slices[0].position_mm is None or _is_one_pass(slices):
        return [slices]
    n_marks = max(len(image.marks) for image in slices)
    tellers: list[Callable[[SliceHeader], Hashable]] = [lambda image: image.acquisition_number]
    tellers += [partial(_mark, place) for place in range(1, n_marks)]
    for teller in tellers:
        groups: dict[Hashable, Slices] = defaultdict(list)
        for image in slices:
            groups[teller(image)].append(image)
        passes = sorted(groups.values(), key=len, reverse=True)
        if 1 < len(passes) <= MOST_PASSES and _is_one_pass(passes[0]) and _are_apart(passes[0], passes[1]):
            return passes
    return _runs(slices)


def _mark(place: int, image: SliceHeader) -> str:
    return image.marks[place] if place < len(image.marks) else ""


def _is_one_pass(slices: Slices) -> bool:
    """Return whether slices lie evenly, but for what scanners round."""
    gaps_mm = np.diff(np.sort(slice_distances_mm(slices)))
    if not gaps_mm.size:
        return True
    median_mm = float(np.median(gaps_mm))
    tolerance_mm = min(2 * ROUNDING_MM, median_mm / 4)
    return bool(np.abs(gaps_mm - median_mm).max() <= tolerance_mm)


def _are_apart(one: Slices, other: Slices) -> bool:
    """Return whether two groups lie between each other, or too far apart to be parts of one stack."""
    in_one, in_other = slice_distances_mm(one), slice_distances_mm(other)
    gap_mm = max(in_one.min(), in_other.min()) - min(in_one.max(), in_other.max())
    return bool(gap_mm <= 0 or gap_mm > MAX_GAP_MM)


def _runs(slices: Slices) -> list[Slices]:
    """Split where the positions start again, or by how often a position was there before."""
    in_order = sorted(slices, key=lambda image: (image.instance_number or 0, image.frame, image.name))
    distances_mm = slice_distances_mm(in_order)
    n_repeated = len(slices) - len(np.unique(distances_mm.round(2)))
    steps_mm = np.diff(distances_mm)
    goes_on = np.sign(steps_mm) == np.sign(np.median(steps_mm))
    starts = np.flatnonzero(~goes_on) + 1
    if 0 < len(starts) < MOST_PASSES and np.abs(steps_mm[~goes_on]).min() > MAX_GAP_MM:
        return [list(part) for part in _pieces(in_order, starts.tolist())]
    if n_repeated < LEAST_REPEATED_SHARE * len(slices):
        return [slices]
    passes: dict[int, Slices] = defaultdict(list)
    seen: dict[float, int] = defaultdict(int)
    for image, distance_mm in zip(in_order, distances_mm.round(2).tolist(), strict=True):
        passes[seen[distance_mm]].append(image)
        seen[distance_mm] += 1
    return list(passes.values())


def _pieces(slices: Slices, starts: list[int]) -> Iterator[Slices]:
    for begin, end in zip([0, *starts], [*starts, len(slices)], strict=True):
        yield slices[begin:end]
