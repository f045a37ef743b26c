"""Evaluation of the opacities that are found.

Three methods are measured side by side: the application as it is, the opacity network inside the expert's
lungs (what is wrong there is the network's own fault), and a classical baseline inside the same lungs, which
a network must beat. Where no expert drew the lungs, those that the application finds are used.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lungct.findings.opacities import segment_opacities
from lungct.networks.device import DeviceName, choose_device
from lungct.networks.opacity_unet import build_opacity_model
from lungct.networks.weights import verify_model
from lungct.records import CtVolume, LungAnatomy, MaskArray
from lungct_research.datasets.case import Case
from lungct_research.evaluation.agreement import auroc, with_interval
from lungct_research.evaluation.cases import SETS
from lungct_research.evaluation.lobes import load_segmenter
from lungct_research.evaluation.opacity_measures import (
    ScanMeasures,
    find_classical_opacities,
    measure_scan,
    summarise,
)
from lungct_research.evaluation.plots import draw_opacities


@dataclass(frozen=True)
class Segmenters:
    """The functions that find lobes and opacities.

    Attributes:
        lobes: of a canonical volume.
        opacities: 1 inside the opacities of a volume, looked for inside the given lobes or lungs only.
    """

    lobes: Callable[[CtVolume], LungAnatomy]
    opacities: Callable[[CtVolume, LungAnatomy], MaskArray]


def measure_case(case: Case, segmenters: Segmenters) -> dict[str, ScanMeasures]:
    """Measure each method on one chest; the middle one only where an expert drew the lungs."""
    anatomy = segmenters.lobes(case.volume)
    found = {"application": segmenters.opacities(case.volume, anatomy) > 0}
    lungs = anatomy.lobes
    if case.lungs is not None:
        lungs = case.lungs
        expert = LungAnatomy(lungs, anatomy.model)
        found["network_in_expert_lungs"] = segmenters.opacities(case.volume, expert) > 0
    found["classical"] = find_classical_opacities(case.volume, lungs)
    return {name: measure_scan(case, mask, lungs, anatomy.lobes) for name, mask in found.items()}


def measure_set(cases: Iterable[Case], segmenters: Segmenters) -> dict[str, list[ScanMeasures]]:
    """Measure all chests of a set, by method; prints a line a chest and method."""
    measured = defaultdict(list)
    for case in cases:
        for name, scan in measure_case(case, segmenters).items():
            measured[name].append(scan)
            shown = "" if scan.dice is None else f"dice {scan.dice:.3f}, {scan.true_ml:.0f} ml true, "
            print(f"  {case.name:<28}{name:<26}{shown}{scan.found_ml:.0f} ml found", flush=True)
    return dict(measured)


def report(measured: Mapping[str, Sequence[ScanMeasures]]) -> dict[str, Any]:
    """Return summary and single scans of every method, for JSON."""
    return {
        name: summarise(scans) | {"scans": [_describe_scan(scan) for scan in scans]}
        for name, scans in measured.items()
    }


def _describe_scan(scan: ScanMeasures) -> dict[str, Any]:
    values = {
        "found_ml": scan.found_ml,
        "true_ml": scan.true_ml,
        "found_percent": scan.percent,
        "dice": scan.dice,
        "surface_mm": scan.surface_mm,
        "hausdorff_mm": scan.hausdorff_mm,
    }
    known = {name: round(float(v), 3) for name, v in values.items() if v is not None and np.isfinite(v)}
    row = {"name": scan.name, "counts_for_dice": scan.counts_for_dice, **known}
    if scan.slice_infected is not None and len(np.unique(scan.slice_infected)) > 1:
        row["slice_auroc"] = with_interval(auroc, scan.slice_area_mm2, scan.slice_infected).rounded()
    return row


def load_application(models_dir: Path, device: torch.device) -> Segmenters:
    """Load the networks that find lobes and opacities in the application."""
    opacity = build_opacity_model(verify_model(models_dir, "opacity"), device)
    return Segmenters(
        load_segmenter(models_dir, device),
        lambda volume, anatomy: segment_opacities(volume, anatomy, opacity).mask,
    )


def measure_and_write(name: str, data_dir: Path, out_dir: Path, segmenters: Segmenters) -> None:
    """Measure one data set and write ``NAME.json``, and a picture a method where experts drew masks."""
    print(name, flush=True)
    measured = measure_set(SETS[name](data_dir), segmenters)
    out_dir.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"set": name, **report(measured)}, indent=2)
    (out_dir / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    for method, scans in measured.items():
        if drawn := [scan for scan in scans if scan.true_ml is not None]:
            path = out_dir / f"{name}-{method}.png"
            draw_opacities(drawn, path, f"{name}: {method}")
            print(f"  {path}", flush=True)


def run(names: Sequence[str], data_dir: Path, models: Path, out_dir: Path, device: DeviceName) -> None:
    """Measure the named data sets with the networks of the application."""
    segmenters = load_application(models, choose_device(device))
    for name in names:
        measure_and_write(name, data_dir, out_dir, segmenters)
