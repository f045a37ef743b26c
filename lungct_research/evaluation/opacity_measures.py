"""Measures of opacities found in one scan, and the summary of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
"""Baseline without learning; the opening removes vessels up to four voxels wide. Own decision."""


@dataclass(frozen=True, eq=False)
class PartMeasures:
    """Opacities that one method found in the lungs of a scan, or in one lobe.

    Attributes:
        percent: of the lungs or the lobe.
        slice_area_mm2: found opacity on every slice.
        slice_infected: whether a slice shows an infection; None where nobody said.
        true_ml: volume of the expert's mask; None, as ``dice``, where nobody drew one.
    """

    found_ml: float
    percent: float
    slice_area_mm2: FloatArray
    slice_infected: np.ndarray | None = None
    true_ml: float | None = None
    dice: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class ScanMeasures(PartMeasures):
    """Everything that one method found in one scan.

    Attributes:
        true_voxels: size of the expert's mask; 0 where nobody drew one.
        surface_mm: mean symmetric surface distance; None where nobody drew a mask.
        hausdorff_mm: 95th percentile; None where nobody drew a mask.
        kinds: Dice of every kind of lesion that was painted.
    """

    name: str
    true_voxels: int = 0
    surface_mm: float | None = None
    hausdorff_mm: float | None = None
    lobes: Mapping[Lobe, PartMeasures]
    kinds: Mapping[str, float] = field(default_factory=dict)

    @property
    def counts_for_dice(self) -> bool:
        """Whether the scan has enough positive voxels."""
        return self.true_voxels >= FEWEST_VOXELS


def find_classical_opacities(volume: CtVolume, lungs: MaskArray) -> np.ndarray:
    """Find opacities without learning, at half the resolution in a slice: median, threshold, opening.

    Args:
        volume: canonical volume.
        lungs: non-zero inside the lungs, opacities included.

    Returns:
        bool ``[slices, rows, columns]``.
    """
    smooth_hu = ndimage.median_filter(volume.volume_hu[:, ::2, ::2], CLASSICAL_MEDIAN)
    dense = (smooth_hu > CLASSICAL_ABOVE_HU) & (lungs[:, ::2, ::2] > 0)
    in_plane = ndimage.generate_binary_structure(2, 1)[None]
    opened = ndimage.binary_opening(dense, in_plane, CLASSICAL_OPENINGS)
    full = opened.repeat(2, axis=1).repeat(2, axis=2)
    return np.asarray(full[:, : lungs.shape[1], : lungs.shape[2]] & (lungs > 0))


def measure_scan(case: Case, found: np.ndarray, lungs: MaskArray, lobes: MaskArray) -> ScanMeasures:
    """Measure everything that is known about one scan.

    Args:
        case: the scan and what experts say.
        found: bool, opacities found, on the volume's grid.
        lungs: non-zero inside the lungs that percentages refer to.
        lobes: :attr:`Lobe.label` of the lobes.
    """
    more: dict[str, Any] = {"slice_infected": case.slice_infected}
    if case.opacity is not None:
        true = case.opacity > 0
        surface_mm, hausdorff_mm = surface_distances_mm(found, true, case.volume.spacing_mm)
        more = {
            "slice_infected": true.any(axis=(1, 2)),
            "true_voxels": int(true.sum()),
            "surface_mm": surface_mm,
            "hausdorff_mm": hausdorff_mm,
        }
    if case.kinds is not None:
        more["kinds"] = dice_by_kind(found, case.kinds)
    lobe_infected = case.lobe_infected or {}
    return ScanMeasures(
        name=case.name,
        **_measure_part(case, found, np.ones(found.shape, bool)),
        percent=_percent(found, lungs > 0),
        lobes={
            lobe: PartMeasures(
                **_measure_part(case, found, lobes == lobe.label),
                percent=_percent(found, lobes == lobe.label),
                slice_infected=lobe_infected.get(lobe),
            )
            for lobe in Lobe
        },
        **more,
    )


def _measure_part(case: Case, found: np.ndarray, part: np.ndarray) -> dict[str, Any]:
    """Return those fields of :class:`PartMeasures` that take nothing but the voxels of a part."""
    here, volume = found & part, case.volume
    true = None if case.opacity is None else (case.opacity > 0) & part
    return {
        "found_ml": int(here.sum()) * volume.voxel_ml,
        "slice_area_mm2": np.asarray(here.sum(axis=(1, 2)) * volume.spacing_mm[1] * volume.spacing_mm[2]),
        "true_ml": None if true is None else int(true.sum()) * volume.voxel_ml,
        "dice": None if true is None else dice(here, true),
    }


def _percent(found: np.ndarray, part: np.ndarray) -> float:
    return 100 * int((found & part).sum()) / max(int(part.sum()), 1)


def dice_by_kind(found: np.ndarray, kinds: np.ndarray) -> dict[str, float]:
    """Return the Dice coefficient of every kind of lesion in a painted chest, without voxels of other kinds.

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


def rank_infected_lobes(scan: ScanMeasures) -> float:
    """Return the AUROC of a scan's lobes by their affected share: 1 where the infected ones lie above all."""
    known = [lobe for lobe in scan.lobes.values() if lobe.slice_infected is not None]
    infected = [lobe.slice_infected is not None and bool(lobe.slice_infected.any()) for lobe in known]
    return auroc(np.array([lobe.percent for lobe in known]), np.array(infected))


def summarise(scans: Sequence[ScanMeasures]) -> dict[str, Any]:
    """Return all measures of a data set with their intervals, without those that the data do not allow."""
    counted = [scan for scan in scans if scan.counts_for_dice]
    measured: dict[str, Any] = {
        "n_scans": len(scans),
        "found_percent_of_lungs": _mean(scan.percent for scan in scans),
    }
    if counted:
        measured |= {
            name: _mean(getattr(scan, name) for scan in counted)
            for name in ("dice", "surface_mm", "hausdorff_mm")
        }
    measured |= _compare_volumes(scans) | _detect_slices(scans)
    dice_of = {str(kind): [scan.kinds[kind] for scan in scans if kind in scan.kinds] for kind in Kind}
    if any(dice_of.values()):
        measured["dice_by_kind"] = {kind: _mean(values) for kind, values in dice_of.items() if values}
    ranks = [rank_infected_lobes(scan) for scan in scans]
    if np.isfinite(ranks).any():
        measured["infected_lobes_rank_first"] = _mean(ranks)
    measured["lobes"] = {str(lobe): _summarise_lobe([scan.lobes[lobe] for scan in scans]) for lobe in Lobe}
    return measured


def _summarise_lobe(lobes: Sequence[PartMeasures]) -> dict[str, Any]:
    measured = {"found_percent": _mean(lobe.percent for lobe in lobes)}
    if any(lobe.true_ml is not None for lobe in lobes):
        measured["dice_where_affected"] = _mean(lobe.dice for lobe in lobes if lobe.true_ml)
    return measured | _compare_volumes(lobes) | _detect_slices(lobes)


def _detect_slices(parts: Sequence[PartMeasures]) -> dict[str, Any]:
    """Measure how well the found area tells slices that show an infection, where somebody said which do."""
    known = [(part.slice_area_mm2, part.slice_infected) for part in parts if part.slice_infected is not None]
    return {"slice_auroc": pooled_auroc(*zip(*known, strict=True)).rounded()} if known else {}


def _compare_volumes(parts: Sequence[PartMeasures]) -> dict[str, Any]:
    """Measure how well volumes agree with those of experts, where there are any."""
    pairs = [(part.found_ml, part.true_ml) for part in parts if part.true_ml is not None]
    if not pairs:
        return {}
    found_ml, true_ml = np.array(pairs, float).T
    bias, lower, upper = bland_altman(found_ml, true_ml)
    limits = {"lower_limit": lower, "upper_limit": upper}
    return {
        "pearson_r": with_interval(pearson_r, found_ml, true_ml).rounded(),
        "volume_bias_ml": bias.rounded()
        | {name: None if limit is None else round(limit, 3) for name, limit in limits.items()},
    }


def _mean(values: Iterable[float | None]) -> dict[str, Any]:
    """Return the mean of the values that are known and finite, for JSON."""
    finite = [value for value in values if value is not None and np.isfinite(value)]
    mean: Callable[..., float] = np.mean
    return with_interval(mean, finite).rounded()
