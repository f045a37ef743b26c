"""What lobes hold of their lung in patients.

The patients are those of Tang et al. 2019. From their ranges come the limits of the quality flag
``LOBE_SHARE_IMPLAUSIBLE`` (:data:`lungct.findings.quality.PLAUSIBLE_SHARE_OF_LUNG`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lungct.records import LEFT_LOBES, Lobe, MaskArray
from lungct_research.datasets.volumes import AIRWAY_BIT, read_anatomy, read_split

WIDENED_BY = 0.25
"""Of the width of a range, on both sides. Own decision: fifty patients do not hold the extremes."""


def shares_of_lung(lobes: MaskArray) -> dict[Lobe, float]:
    """Share of each lobe in the voxels of its lung.

    Args:
        lobes: ``[slices, rows, columns]``, :attr:`Lobe.label`; both lungs are there.
    """
    sizes = np.bincount(lobes.ravel(), minlength=len(Lobe) + 1)
    left = sum(int(sizes[lobe.label]) for lobe in LEFT_LOBES)
    right = int(sizes[1:].sum()) - left
    return {lobe: float(sizes[lobe.label]) / (left if lobe in LEFT_LOBES else right) for lobe in Lobe}


def widened(values: Iterable[float]) -> tuple[float, float]:
    """The range of values, wider by :data:`WIDENED_BY` on both sides."""
    values = list(values)
    more = WIDENED_BY * (max(values) - min(values))
    return min(values) - more, max(values) + more


def run(data_dir: Path) -> None:
    """Print a line a lobe."""
    names = [name for part in read_split("anatomies").values() for name in part]
    of_patients = [shares_of_lung(read_anatomy(data_dir, name) & np.uint8(AIRWAY_BIT - 1)) for name in names]
    print(f"{len(names)} patients")
    print(f"{'share of its lung':<20}{'smallest':>10}{'median':>10}{'largest':>10}  widened")
    for lobe in Lobe:
        values = [shares[lobe] for shares in of_patients]
        low, high = widened(values)
        figures = "".join(f"{value:10.3f}" for value in (min(values), np.median(values), max(values)))
        print(f"{lobe:<20}{figures}  {low:.2f} to {high:.2f}")
