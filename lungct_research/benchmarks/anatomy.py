"""Time, memory and agreement of finding airways and vessels in a phantom of 300 slices.

Example:
    python -m lungct_research.benchmarks.anatomy
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from lungct.anatomy.airways import segment_airways
from lungct.anatomy.vessels import segment_vessels
from lungct.networks.device import keep_freed_memory
from lungct.records import MaskArray
from lungct.records.orientation import canonical_volume
from lungct_research.benchmarks.measure import HEADER, measure
from lungct_research.benchmarks.study import SHAPE, SPACING_MM
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.thorax import make_thorax


def main() -> int:
    """Print the table; returns the exit code."""
    keep_freed_memory()
    torch.set_num_threads(2)
    phantom = make_thorax(1, SPACING_MM, SHAPE, disease=Disease.COVID19)
    volume = canonical_volume(phantom.volume_hu, SPACING_MM)
    airways, vessels = np.zeros_like(phantom.lobes), np.zeros_like(phantom.lobes)
    print(f"{HEADER}{'Dice':>7}{'sensitivity':>13}{'precision':>11}")
    line = measure("airways", lambda: np.copyto(airways, segment_airways(volume, phantom.lobes)))
    print(line + agreement(airways, phantom.airways))
    line = measure("vessels", lambda: np.copyto(vessels, segment_vessels(volume, phantom.lobes, airways)))
    print(line + agreement(vessels, phantom.vessels))
    return 0


def agreement(found: MaskArray, truth: MaskArray) -> str:
    """Dice, sensitivity and precision as the end of a line."""
    both, n_found, n_true = (np.count_nonzero(mask) for mask in (found & truth, found, truth))
    return f"{2 * both / (n_found + n_true):>7.3f}{both / n_true:>13.2f}{both / max(n_found, 1):>11.2f}"


if __name__ == "__main__":
    sys.exit(main())
