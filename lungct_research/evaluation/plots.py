"""Pictures of an evaluation: volumes against each other, Bland-Altman, Dice by scan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lungct_research.evaluation.agreement import bland_altman
from lungct_research.evaluation.opacity_measures import ScanMeasures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES = (13.0, 4.2)
PIXELS_AN_INCH = 120


def write_plots(measured: dict[str, list[ScanMeasures]], out_dir: Path, name: str) -> list[Path]:
    """One PNG a method whose scans have expert masks, ``NAME-METHOD.png``."""
    from matplotlib.figure import Figure

    paths = []
    for method, scans in measured.items():
        drawn = [scan for scan in scans if scan.true_ml is not None]
        if not drawn:
            continue
        figure = Figure(INCHES, PIXELS_AN_INCH, layout="constrained")
        volumes, differences, overlap = figure.subplots(1, 3)
        found_ml, true_ml = (
            np.array([getattr(scan, key) for scan in drawn], float) for key in ("found_ml", "true_ml")
        )
        _volumes(volumes, found_ml, true_ml)
        _bland_altman(differences, found_ml, true_ml)
        _dice(overlap, drawn)
        figure.suptitle(f"{name}: {method}")
        paths.append(out_dir / f"{name}-{method}.png")
        figure.savefig(paths[-1])
    return paths


def _volumes(axes: Axes, found_ml: np.ndarray, true_ml: np.ndarray) -> None:
    largest_ml = max(float(found_ml.max()), float(true_ml.max()), 1.0)
    axes.plot([0, largest_ml], [0, largest_ml], color="grey", linewidth=1)
    axes.scatter(true_ml, found_ml, s=14)
    axes.set(xlabel="true volume (ml)", ylabel="found volume (ml)", title="Volumes")


def _bland_altman(axes: Axes, found_ml: np.ndarray, true_ml: np.ndarray) -> None:
    agreement = bland_altman(found_ml, true_ml)
    axes.scatter((found_ml + true_ml) / 2, found_ml - true_ml, s=14)
    for level, style in (
        (agreement.bias.value, "-"),
        (agreement.lower_limit, "--"),
        (agreement.upper_limit, "--"),
    ):
        if level is not None:
            axes.axhline(level, linestyle=style, color="grey", linewidth=1)
    axes.set(xlabel="mean of both (ml)", ylabel="found less true (ml)", title="Bland-Altman")


def _dice(axes: Axes, scans: Sequence[ScanMeasures]) -> None:
    counted = sorted((scan for scan in scans if scan.counts_for_dice), key=lambda scan: scan.dice or 0.0)
    axes.barh([scan.name for scan in counted], [scan.dice or 0.0 for scan in counted])
    axes.set(xlim=(0, 1), xlabel="Dice coefficient", title="Overlap")
    axes.tick_params(axis="y", labelsize=6)
