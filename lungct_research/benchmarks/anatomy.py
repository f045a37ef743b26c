"""Time, memory and agreement of finding airways and vessels in a phantom."""

from __future__ import annotations

import numpy as np
import torch

from lungct.anatomy.airways import segment_airways
from lungct.anatomy.vessels import segment_vessels
from lungct.networks.device import keep_freed_memory
from lungct.records import MaskArray
from lungct_research.benchmarks.measure import HEADER, measure
from lungct_research.benchmarks.study import N_THREADS, draw_chest


def run(n_slices: int) -> None:
    """Print the table."""
    keep_freed_memory()
    torch.set_num_threads(N_THREADS)
    phantom, volume = draw_chest(n_slices)
    airways, vessels = np.zeros_like(phantom.lobes), np.zeros_like(phantom.lobes)
    print(f"{HEADER}{'Dice':>7}{'sensitivity':>13}{'precision':>11}")
    line = measure("airways", lambda: np.copyto(airways, segment_airways(volume, phantom.lobes)))
    print(line + agreement(airways, phantom.airways))
    line = measure("vessels", lambda: np.copyto(vessels, segment_vessels(volume, phantom.lobes, airways)))
    print(line + agreement(vessels, phantom.vessels))


def agreement(found: MaskArray, truth: MaskArray) -> str:
    """Dice, sensitivity and precision as the end of a line."""
    both, n_found, n_true = (int(np.count_nonzero(mask)) for mask in (found & truth, found, truth))
    return f"{2 * both / (n_found + n_true):>7.3f}{both / n_true:>13.2f}{both / max(n_found, 1):>11.2f}"
