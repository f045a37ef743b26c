"""Comparison of the findings on a phantom with its truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LUNG_TOLERANCE = 0.05
OPACITY_TOLERANCE = 0.15
"""Largest relative errors of a volume that are accepted. Own decision."""


@dataclass(frozen=True)
class Comparison:
    """One volume, true and measured."""

    what: str
    true_ml: float
    measured_ml: float
    tolerance: float

    @property
    def relative_error(self) -> float:
        """The signed error relative to the truth; infinite where a volume was measured that is not there."""
        if self.true_ml == 0:
            return float("inf") if self.measured_ml else 0.0
        return self.measured_ml / self.true_ml - 1

    @property
    def holds(self) -> bool:
        """Whether the error is within the tolerance."""
        return abs(self.relative_error) <= self.tolerance


def compare(truth: dict[str, Any], result: dict[str, Any]) -> Iterator[Comparison]:
    """Compare the lung volume of every lobe and the opacity volume of both lungs.

    Args:
        truth: content of the file that ``lungct phantom --truth`` writes.
        result: content of ``result.json``.
    """
    findings = result["findings"]
    for lobe, true in truth["lobes"].items():
        yield Comparison(lobe, true["lung_ml"], findings["lobes"][lobe]["lung_ml"], LUNG_TOLERANCE)
    true_opacity_ml = sum(lobe["opacity_ml"] for lobe in truth["lobes"].values())
    yield Comparison("opacity", true_opacity_ml, findings["total"]["opacity_ml"], OPACITY_TOLERANCE)


def run(truth_file: Path, result_file: Path) -> bool:
    """Print the comparison; returns whether all volumes are within their tolerance."""
    truth, result = (json.loads(path.read_text(encoding="utf-8")) for path in (truth_file, result_file))
    comparisons = list(compare(truth, result))
    print(f"{'':<14}{'true ml':>10}{'measured ml':>13}{'error':>9}{'allowed':>9}")
    for volume in comparisons:
        remark = "" if volume.holds else "  out of tolerance"
        print(
            f"{volume.what:<14}{volume.true_ml:>10.0f}{volume.measured_ml:>13.0f}"
            f"{volume.relative_error:>+9.1%}{volume.tolerance:>9.0%}{remark}"
        )
    return all(volume.holds for volume in comparisons)
