"""What a dozen slices show of the lungs: whole or cut, breathed in or out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lungct.dicom_read.pixels import read_samples_hu
from lungct.dicom_read.plain_lungs import CELL_MM, BoolArray, FloatArray, average_cells, find_lungs
from lungct.dicom_read.slice_grid import slice_distances_mm, slice_normal
from lungct.records import Float64Array, Reason, Series, SliceHeader

N_SLICES = 12
"""One every 25 to 30 mm of a chest: enough for the outline of the lungs, and soon read."""

FEWEST_SLICES = 6
"""With fewer that can be read and placed nothing is said. Own decision."""

SMALLEST_LUNGS_ML = 100.0
"""Less air than this is no lung, but bowel gas. Own decision."""

CUT_SHARE = 0.25
"""Of the largest section of the lungs: more than that on the first or last slice is a cut-off lung. Twelve
real chests that are whole have at most 0.13, one whose bases are cut off has 0.44."""

SMALLEST_CUT_MM2 = 3000.0
"""Bowel gas below a small lung reaches less. Own decision."""

SHORTEST_MM = 100.0
"""Less than half the height of an adult's lungs: the abdomen or the neck with an end of them."""

SMALLEST_FULL_SECTION_MM2 = 8000.0
"""Where the largest section is smaller, lungs are ill or small, and nothing is refused. Own decision."""

CUT_OUTLINE = (0.03, 0.10)
"""Share of the outline of the lungs on the sides of the picture, above which some and most is missing. Of
13 real chests cropped to a heart of 200 mm twelve have 0.10 to 0.19, of 280 mm eleven up to 0.03."""

EXPIRATION_HU = -700.0
"""Mean of aerated lung above which it is breathed out, or extensively ill. Own decision."""

EXPIRATION_SHARE = 0.8
DENSER_IN_EXPIRATION_HU = 40.0
"""Against another series of the same day: volume below this share and lung denser by more. Own decision."""

Cells = tuple[FloatArray, float]
"""Of one slice, as :func:`average_cells` gives them."""


@dataclass(frozen=True)
class Look:
    """The lungs on the slices looked at.

    Attributes:
        lung_ml: volume of aerated lung, interpolated between the slices.
        lung_hu: mean of aerated lung; 0 where there is none.
        height_mm: along which the lungs are seen.
        largest_mm2: section of the lungs, where it is largest.
        ends_mm2: section on the most caudal and the most cranial slice.
        side_share: median share of the outline of the lungs that lies on the sides of the picture.
    """

    lung_ml: float
    lung_hu: float
    height_mm: float
    largest_mm2: float
    ends_mm2: tuple[float, float]
    side_share: float

    @property
    def shows_lungs(self) -> bool:
        """Whether there is more air than bowel holds."""
        return self.lung_ml >= SMALLEST_LUNGS_ML

    @property
    def cut_ends(self) -> tuple[str, ...]:
        """Ends of the lungs that are not in the picture."""
        limit_mm2 = max(CUT_SHARE * self.largest_mm2, SMALLEST_CUT_MM2)
        names = ("bases", "apices")
        return tuple(name for name, mm2 in zip(names, self.ends_mm2, strict=True) if mm2 > limit_mm2)

    @property
    def is_cut(self) -> bool:
        """Whether some of the lungs is missing at an end or a side."""
        return bool(self.cut_ends) or self.side_share > CUT_OUTLINE[0]

    def is_expiration_beside(self, other: Look) -> bool:
        """Return whether the lungs are smaller and denser than in another series of the same day."""
        return (
            self.lung_ml < EXPIRATION_SHARE * other.lung_ml
            and self.lung_hu > other.lung_hu + DENSER_IN_EXPIRATION_HU
        )

    def reasons_against(self) -> Iterator[Reason]:
        """Yield reasons why a series shows too little of the lungs to be analysed."""
        if not self.shows_lungs or self.largest_mm2 < SMALLEST_FULL_SECTION_MM2:
            return
        if self.cut_ends and self.height_mm < SHORTEST_MM:
            message = (
                f"only {self.height_mm:.0f} mm of the lungs are seen, without their {_listed(self.cut_ends)}"
            )
            yield Reason("LUNGS_CUT", message)
        elif self.side_share > CUT_OUTLINE[1]:
            yield Reason("LUNGS_CUT", "the field of view holds the middle of the chest only")

    def preferences(self) -> Iterator[Reason]:
        """Yield what the look adds to the reasons for the rank of a series."""
        if not self.shows_lungs:
            yield Reason("NO_LUNGS_SEEN", "no air-filled lungs on the slices looked at")
        elif self.is_cut:
            missing = self.cut_ends or ("sides",)
            yield Reason("LUNGS_CUT", f"the lungs are seen without {_listed(missing)}")
        else:
            yield Reason("LUNGS_WHOLE", "the lungs are seen from apex to base")
        if self.shows_lungs and self.lung_hu > EXPIRATION_HU:
            yield Reason(
                "EXPIRATION", f"aerated lung has {self.lung_hu:.0f} HU: breathed out, or extensively ill"
            )


def look_at(all_series: Sequence[Series]) -> list[Look | None]:
    """Measure the lungs on a dozen slices of every series.

    Args:
        all_series: their files are read.

    Returns:
        One look a series; None where too few of its slices can be read or placed.
    """
    samples = [_evenly_spaced(series) for series in all_series]
    cells: list[dict[int, Cells]] = [{} for _ in all_series]
    for number, place, slice_hu in read_samples_hu(samples):
        cells[number][place] = average_cells(slice_hu, _pixel_spacing_mm(samples[number][place]))
    return [_look(sample, found) for sample, found in zip(samples, cells, strict=True)]


def _evenly_spaced(series: Series) -> list[SliceHeader]:
    """Return about a dozen slices, caudal first, with both ends; none where they have no order."""
    placed = [image for image in series.slices if image.position_mm and image.pixel_spacing_mm]
    if not placed or placed[0].orientation is None:
        return []
    upwards = 1 if slice_normal(placed[0].orientation)[2] >= 0 else -1
    order = np.argsort(upwards * slice_distances_mm(placed), kind="stable")
    chosen = np.unique(np.linspace(0, len(order) - 1, N_SLICES).round().astype(int))
    return [placed[order[number]] for number in chosen]


def _look(sample: Sequence[SliceHeader], cells: dict[int, Cells]) -> Look | None:
    """Measure the lungs on the slices of a sample that were decoded, which are in ``cells``."""
    if len(cells) < FEWEST_SLICES:
        return None
    places = sorted(cells)
    if len({(cells[place][0].shape, cells[place][1]) for place in places}) > 1:
        return None
    distances_mm = slice_distances_mm([sample[place] for place in places])
    stack = np.stack([cells[place][0] for place in places])
    return measure_lungs(stack, np.abs(distances_mm - distances_mm[0]), cells[places[0]][1])


def _pixel_spacing_mm(image: SliceHeader) -> tuple[float, float]:
    """Return the distance of rows and of columns; slices without are not looked at."""
    return image.pixel_spacing_mm or (CELL_MM, CELL_MM)


def measure_lungs(cells_hu: FloatArray, heights_mm: Float64Array, cell_mm2: float) -> Look:
    """Measure the lungs on slices.

    Args:
        cells_hu: ``[slices, rows, columns]``, caudal first, of :func:`average_cells`.
        heights_mm: ``[slices]``, above the first.
        cell_mm2: area of a cell.
    """
    lungs = find_lungs(cells_hu, cell_mm2)
    areas_mm2 = np.count_nonzero(lungs, axis=(1, 2)) * cell_mm2
    is_seen = areas_mm2 > CUT_SHARE * areas_mm2.max()
    is_seen &= areas_mm2 > 0
    return Look(
        lung_ml=float(np.trapezoid(areas_mm2, heights_mm)) / 1000.0,
        lung_hu=float(cells_hu[lungs].mean()) if lungs.any() else 0.0,
        height_mm=float(np.trapezoid(is_seen.astype(float), heights_mm)),
        largest_mm2=float(areas_mm2.max()),
        ends_mm2=(float(areas_mm2[0]), float(areas_mm2[-1])),
        side_share=float(np.median(_side_shares(lungs[is_seen]))) if is_seen.any() else 0.0,
    )


def _side_shares(lungs: BoolArray) -> npt.NDArray[np.float64]:
    """Return which share of the outline of the lungs lies on the sides of the picture, slice by slice."""
    sides = lungs[:, :, 0].sum(1) + lungs[:, :, -1].sum(1)
    padded = np.pad(lungs, ((0, 0), (1, 1), (1, 1)))
    outline = sum((padded != np.roll(padded, 1, axis)).sum((1, 2)) for axis in (1, 2))
    return np.asarray(sides / outline)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)
