"""Time and GPU memory of the networks on each device, and whether the devices agree."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from lungct.anatomy.lungs import segment_lobes
from lungct.anatomy.vessels import segment_vessels
from lungct.findings.classification import classify
from lungct.findings.opacities import segment_opacities
from lungct.networks import Classifier3d, LobeUNet
from lungct.networks.device import keep_freed_memory
from lungct.networks.lobe_unet import coarse_grid, coarse_probabilities
from lungct.networks.opacity_unet import build_opacity_model, opacity_probability
from lungct.networks.weights import load_model, verify_model
from lungct.records import Classification, CtVolume, LungAnatomy, MaskArray, Opacities
from lungct_research.benchmarks.study import N_THREADS, draw_chest
from lungct_research.evaluation.agreement import dice
from lungct_research.synthesis.phantom.thorax import Phantom

N_PLAIN_SLICES = 30

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Outputs:
    """What one device found."""

    anatomy: LungAnatomy
    opacities: Opacities
    classification: Classification
    vessels: MaskArray


def measure_device(phantom: Phantom, volume: CtVolume, models: Path, device: torch.device) -> Outputs:
    """Print a line for every stage on one device; returns what was found."""
    lobes_model = load_model(models, "lungs", LobeUNet, device)
    opacity_model = build_opacity_model(verify_model(models, "opacity"), device)
    classifier = load_model(models, "classifier", Classifier3d, device)
    grid = coarse_grid(torch.from_numpy(volume.volume_hu).to(device), volume.spacing_mm)
    _timed("lobe network alone", device, lambda: coarse_probabilities(grid, lobes_model.network))
    anatomy = _timed("lungs and lobes", device, lambda: segment_lobes(volume, lobes_model))
    _timed("opacity network, slice by slice", device, lambda: _plain_loop(volume, opacity_model.network))
    opacities = _timed("opacities", device, lambda: segment_opacities(volume, anatomy, opacity_model))
    classification = _timed("classifier", device, lambda: classify(volume, anatomy, classifier))
    vessels = _timed(
        "vessels", device, lambda: segment_vessels(volume, anatomy.lobes, phantom.airways, device)
    )
    return Outputs(anatomy, opacities, classification, vessels)


@torch.inference_mode()
def _plain_loop(volume: CtVolume, network: nn.Module) -> None:
    """What a straightforward script does with the opacity network, on a tenth of the slices."""
    step = max(len(volume.volume_hu) // N_PLAIN_SLICES, 1)
    for index in range(0, len(volume.volume_hu), step):
        opacity_probability(volume.volume_hu[index : index + 1], network)


def _timed(what: str, device: torch.device, work: Callable[[], Result]) -> Result:
    """Print seconds and the most memory of the GPU; there it is the second of two runs."""
    if device.type == "cuda":
        work()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    peak_mb = torch.cuda.max_memory_reserved() / 2**20 if device.type == "cuda" else 0
    print(f"{device.type:<6}{what:<34}{seconds:>9.2f}{peak_mb:>15.0f}", flush=True)
    return result


def print_agreement(one: Outputs, other: Outputs) -> None:
    """How far two devices differ in what is reported."""
    pairs = {
        "lobes (where both see lung)": (one.anatomy.lobes, other.anatomy.lobes),
        "opacities": (one.opacities.mask, other.opacities.mask),
        "vessels": (one.vessels, other.vessels),
    }
    for name, (first, second) in pairs.items():
        differing = np.count_nonzero(first != second) / max(int(np.count_nonzero(first)), 1)
        print(f"{name:<34} Dice {dice(first > 0, second > 0):.5f}, voxels that differ {differing:.2e}")
    shares = [np.array(list(vars(o.classification.probabilities).values())) for o in (one, other)]
    print(f"{'probabilities':<34} differ by at most {np.abs(shares[0] - shares[1]).max():.1e}")


def run(models: Path, n_slices: int) -> None:
    """Print a table for each device that the machine has."""
    keep_freed_memory()
    torch.set_num_threads(N_THREADS)
    phantom, volume = draw_chest(n_slices)
    print(f"{'on':<6}{'what':<34}{'seconds':>9}{'peak MB of GPU':>15}")
    on_cpu = measure_device(phantom, volume, models, torch.device("cpu"))
    if torch.cuda.is_available():
        print(torch.cuda.get_device_name())
        print_agreement(on_cpu, measure_device(phantom, volume, models, torch.device("cuda")))
