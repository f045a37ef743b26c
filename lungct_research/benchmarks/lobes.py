"""Time and memory of labelling the lobes of a phantom."""

from __future__ import annotations

from pathlib import Path

import torch

from lungct.anatomy.lungs import segment_lobes
from lungct.networks import LobeUNet
from lungct.networks.device import choose_device, keep_freed_memory
from lungct.networks.lobe_unet import coarse_grid, coarse_probabilities
from lungct.networks.weights import load_model
from lungct_research.benchmarks.measure import HEADER, measure
from lungct_research.benchmarks.study import N_THREADS, draw_chest


def run(models: Path, n_slices: int) -> None:
    """Print the table."""
    keep_freed_memory()
    torch.set_num_threads(N_THREADS)
    device = choose_device("auto")
    _, volume = draw_chest(n_slices)
    model = load_model(models, "lungs", LobeUNet, device)
    grid = coarse_grid(torch.from_numpy(volume.volume_hu).to(device), volume.spacing_mm)
    print(f"on {device}\n{HEADER}")
    print(measure("network alone", lambda: coarse_probabilities(grid, model.network)))
    print(measure("lungs and lobes", lambda: segment_lobes(volume, model)))
