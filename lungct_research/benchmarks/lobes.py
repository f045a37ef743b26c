"""Time and memory of labelling the lobes of a phantom of 300 slices.

Example:
    python -m lungct_research.benchmarks.lobes
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from lungct.anatomy.lungs import coarse_grid, coarse_probabilities, segment_lobes
from lungct.networks import LobeUNet
from lungct.networks.device import choose_device, keep_freed_memory
from lungct.networks.weights import load_model
from lungct.records.orientation import canonical_volume
from lungct_research.benchmarks.measure import HEADER, measure
from lungct_research.benchmarks.study import SHAPE, SPACING_MM
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.thorax import make_thorax


def main() -> int:
    """Print the table; returns the exit code."""
    keep_freed_memory()
    torch.set_num_threads(2)
    device = choose_device("auto")
    phantom = make_thorax(1, SPACING_MM, SHAPE, disease=Disease.COVID19)
    volume = canonical_volume(phantom.volume_hu, SPACING_MM)
    model = load_model(Path("models"), "lungs", LobeUNet, device)
    grid = coarse_grid(torch.from_numpy(volume.volume_hu).to(device), SPACING_MM)
    print(f"on {device}\n{HEADER}")
    print(measure("network alone", lambda: coarse_probabilities(grid, model.network)))
    print(measure("lungs and lobes", lambda: segment_lobes(volume, model)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
