"""What is measured of one scan, and the summary of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from lungct.records import CtVolume, Lobe, MaskArray
from lungct_research.datasets.case import Case
from lungct_research.evaluation.agreement import (
    FloatArray,
    auroc,
    bland_altman,
    dice,
    pearson_r,
    pooled_auroc,
    surface_distances_mm,
    with_interval,
)
from lungct_research.synthesis.lesions import Kind

FEWEST_VOXELS = 1000
"""Scans with fewer positive voxels do not count for the Dice coefficient (Topff et al. 2023)."""

CLASSICAL_ABOVE_HU = -650.0
CLASSICAL_MEDIAN = (1, 5, 5)
CLASSICAL_OPENINGS = 2
"""Baseline without learning; own decision. The opening takes away vessels up to four voxels wide."""


@dataclass(frozen=True, eq=False)
class ScanMeasures:
    """What one method found in one scan.

    Attributes:
        found_ml: volume of the opacities found.
        found_percent: of the lungs, None where no lungs are known.
        true_voxels: of the expert's mask; None, as all of the following, where nobody drew one.
        surface_mm: mean symmetric surface distance.
        hausdorff_mm: 95th percentile.
        slice_area_mm2: found opacity on every slice.
        slice_infected: whether a slice shows an infection; None where nobody said.
        lobes: by lobe, where lobes are known.
        kinds: Dice of every kind of lesion that was painted.
    """

    name: str
    found_ml: float
    found_percent: float | None
    slice_area_mm2: FloatArray
    slice_infected: np.ndarray | None
    true_ml: float | None = None
    true_voxels: int | None = None
    dice: float | None = None
    surface_mm: float | None = None
    hausdorff_mm: float | None = None
    lobes: Mapping[Lobe, LobeMeasures] = field(default_factory=dict)
    kinds: Mapping[str, float] = field(default_factory=dict)

    @property
    def counts_for_dice(self) -> bool:
        """Whether the scan has enough positive voxels."""
        return self.true_voxels is not None and self.true_voxels >= FEWEST_VOXELS


@dataclass(frozen=True, eq=False)
class LobeMeasures:
    """The same of one lobe; ``percent`` is the found opacity in percent of the lobe."""

    found_ml: float
    percent: float
    slice_area_mm2: FloatArray
    slice_infected: np.ndarray | None = None
    true_ml: float | None = None
    dice: float | None = None

    @property
    def infected(self) -> bool | None:
        """Whether any slice of the lobe is, where somebody said."""
        return None if self.slice_infected is None else bool(self.slice_infected.any())


def classical_opacities(volume: CtVolume, lungs: MaskArray) -> np.ndarray:
    """Opacities without learning, at half the resolution in a slice: median, threshold, opening.

    Args:
        volume: canonical volume.
        lungs: non-zero inside the lungs, opacities included.

    Returns:
        bool ``[slices, rows, columns]``.
    """
    smooth_hu = ndimage.median_filter(volume.volume_hu[:, ::2, ::2], CLASSICAL_MEDIAN)
    dense = (smooth_hu > CLASSICAL_ABOVE_HU) & (lungs[:, ::2, ::2] > 0)
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    opened = ndimage.binary_opening(dense, in_plane, CLASSICAL_OPENINGS)
    full = opened.repeat(2, axis=1).repeat(2, axis=2)
    return np.asarray(full[:, : lungs.shape[1], : lungs.shape[2]] & (lungs > 0))


def measure(case: Case, found: np.ndarray, lungs: MaskArray | None, lobes: MaskArray | None) -> ScanMeasures:
    """Everything that can be measured of one scan.

    Args:
        case: the scan and what experts say.
        found: bool, opacities found, on the volume's grid.
        lungs: non-zero inside the lungs that percentages refer to.
        lobes: :attr:`Lobe.label` of the lobes, None where they are not known.
    """
    voxel_ml = case.volume.voxel_ml
    true = None if case.opacity is None else case.opacity > 0
    slice_infected = case.slice_infected if true is None else true.any(axis=(1, 2))
    measured: dict[str, Any] = {
        "name": case.name,
        "found_ml": int(found.sum()) * voxel_ml,
        "found_percent": None if lungs is None else _percent(found, lungs > 0),
        "slice_area_mm2": slice_areas_mm2(found, case.volume),
        "slice_infected": slice_infected,
        "lobes": {} if lobes is None else _of_lobes(case, found, lobes),
        "kinds": {} if case.kinds is None else dice_by_kind(found, case.kinds),
    }
    if true is None:
        return ScanMeasures(**measured)
    surface_mm, hausdorff_mm = surface_distances_mm(found, true, case.volume.spacing_mm)
    n = int(true.sum())
    return ScanMeasures(
        **measured,
        true_ml=n * voxel_ml,
        true_voxels=n,
        dice=dice(found, true),
        surface_mm=surface_mm,
        hausdorff_mm=hausdorff_mm,
    )


def slice_areas_mm2(found: np.ndarray, volume: CtVolume) -> FloatArray:
    """Area of a mask on every slice."""
    return np.asarray(found.sum(axis=(1, 2)) * volume.spacing_mm[1] * volume.spacing_mm[2])


def _percent(found: np.ndarray, part: np.ndarray) -> float:
    return 100 * int((found & part).sum()) / max(int(part.sum()), 1)


def _of_lobes(case: Case, found: np.ndarray, lobes: MaskArray) -> dict[Lobe, LobeMeasures]:
    measured = {}
    for lobe in Lobe:
        part = lobes == lobe.label
        here = found & part
        true = None if case.opacity is None else (case.opacity > 0) & part
        measured[lobe] = LobeMeasures(
            int(here.sum()) * case.volume.voxel_ml,
            _percent(found, part),
            slice_areas_mm2(here, case.volume),
            None if case.lobe_infected is None else case.lobe_infected[lobe],
            None if true is None else int(true.sum()) * case.volume.voxel_ml,
            None if true is None else dice(here, true),
        )
    return measured


def dice_by_kind(found: np.ndarray, kinds: np.ndarray) -> dict[str, float]:
    """Dice coefficient of every kind of lesion in a painted chest; voxels of other kinds are left out.

    What was found outside all lesions counts against every kind that the chest has.

    Args:
        found: bool, opacities found.
        kinds: :attr:`lungct_research.synthesis.lesions.Kind.label` at every voxel, 0 outside lesions.
    """
    present = [kind for kind in Kind if (kinds == kind.label).any()]
    return {
        str(kind): dice(found & ((kinds == 0) | (kinds == kind.label)), kinds == kind.label)
        for kind in present
    }


def infected_lobes_rank_first(scan: ScanMeasures) -> float:
    """AUROC of a scan's lobes by their affected share: 1 where all infected ones lie above all others."""
    known = [lobe for lobe in scan.lobes.values() if lobe.infected is not None]
    return auroc(np.array([lobe.percent for lobe in known]), np.array([lobe.infected for lobe in known]))


def summary(scans: Sequence[ScanMeasures]) -> dict[str, Any]:
    """All measures of a data set, each with its interval; those that the data do not allow are left out."""
    drawn = [scan for scan in scans if scan.true_ml is not None]
    counted = [scan for scan in drawn if scan.counts_for_dice]
    measured: dict[str, Any] = {"n_scans": len(scans)}
    percents = [scan.found_percent for scan in scans if scan.found_percent is not None]
    if percents:
        measured["found_percent_of_lungs"] = with_interval(_mean, percents).rounded()
    if counted:
        measured["dice"] = with_interval(_mean, _finite(scan.dice for scan in counted)).rounded()
        for name in ("surface_mm", "hausdorff_mm"):
            measured[name] = with_interval(_mean, _finite(getattr(scan, name) for scan in counted)).rounded()
    if drawn:
        measured |= _of_volumes([scan.found_ml for scan in drawn], [scan.true_ml for scan in drawn])
    return measured | _of_slices(scans) | _summary_of_kinds(scans) | _summary_of_lobes(scans)


def _summary_of_kinds(scans: Sequence[ScanMeasures]) -> dict[str, Any]:
    dice_of = {kind: [scan.kinds[kind] for scan in scans if kind in scan.kinds] for kind in map(str, Kind)}
    of_kinds = {kind: with_interval(_mean, values).rounded() for kind, values in dice_of.items() if values}
    return {"dice_by_kind": of_kinds} if of_kinds else {}


def _summary_of_lobes(scans: Sequence[ScanMeasures]) -> dict[str, Any]:
    with_lobes = [scan for scan in scans if scan.lobes]
    if not with_lobes:
        return {}
    ranks = _finite(infected_lobes_rank_first(scan) for scan in with_lobes)
    measured: dict[str, Any] = (
        {"infected_lobes_rank_first": with_interval(_mean, ranks).rounded()} if ranks else {}
    )
    measured["lobes"] = {str(lobe): _of_one_lobe([scan.lobes[lobe] for scan in with_lobes]) for lobe in Lobe}
    return measured


def _of_one_lobe(lobes: Sequence[LobeMeasures]) -> dict[str, Any]:
    measured: dict[str, Any] = {
        "found_percent": with_interval(_mean, [lobe.percent for lobe in lobes]).rounded()
    }
    drawn = [lobe for lobe in lobes if lobe.true_ml is not None]
    if drawn:
        affected = _finite(lobe.dice for lobe in drawn if lobe.true_ml)
        measured["dice_where_affected"] = with_interval(_mean, affected).rounded()
        measured |= _of_volumes([lobe.found_ml for lobe in drawn], [lobe.true_ml for lobe in drawn])
    return measured | _of_slices(lobes)


def _of_slices(parts: Sequence[ScanMeasures | LobeMeasures]) -> dict[str, Any]:
    """Measure how well the found area tells slices that show an infection, where somebody said which do."""
    known = [(part.slice_area_mm2, part.slice_infected) for part in parts if part.slice_infected is not None]
    if not known:
        return {}
    areas_mm2, infected = zip(*known, strict=True)
    return {"slice_auroc": pooled_auroc(areas_mm2, infected).rounded()}


def _of_volumes(found_ml: list[float], true_ml: list[float | None]) -> dict[str, Any]:
    columns = np.asarray(found_ml, float), np.asarray(true_ml, float)
    return {
        "pearson_r": with_interval(pearson_r, *columns).rounded(),
        "volume_bias_ml": bland_altman(*columns).rounded(),
    }


def _mean(values: FloatArray) -> float:
    return float(values.mean())


def _finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and np.isfinite(value)]
