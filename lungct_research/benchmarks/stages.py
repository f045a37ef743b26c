"""Time and memory of single stages on a phantom, and how far what they find agrees with its truth."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lungct.anatomy.airways import segment_airways
from lungct.anatomy.lungs import segment_lobes
from lungct.anatomy.vessels import segment_vessels
from lungct.delivery import deliver
from lungct.dicom_write.write import write_dicom
from lungct.findings.classification import classify
from lungct.findings.opacities import segment_opacities
from lungct.networks import Classifier3d, LobeUNet
from lungct.networks.device import choose_device, keep_freed_memory
from lungct.networks.inputs import as_tensor
from lungct.networks.lobe_unet import coarse_grid, coarse_probabilities
from lungct.networks.opacity_unet import build_opacity_model
from lungct.networks.weights import load_model, verify_model
from lungct.records import CtVolume, LungAnatomy, MaskArray
from lungct.report.content import write_content
from lungct.report.html import render_html
from lungct.report.illustrations import illustrate
from lungct.report.pdf import render_pdf
from lungct.report.rendering import render_lungs
from lungct.report.wording import Wording
from lungct.settings import DicomSettings, OutputSettings
from lungct_research.benchmarks.measure import CPU, HEADER, measure
from lungct_research.benchmarks.study import N_THREADS, analyse_truth, draw_chest
from lungct_research.benchmarks.trees import sensitivity_and_precision
from lungct_research.evaluation.agreement import dice

PDF = bytes(2_500_000)
"""As large as a report."""

ONLY_SEGMENTATIONS = {"structured_report": False, "encapsulated_pdf": False, "secondary_captures": False}
DICOM_OUTPUTS: dict[str, dict[str, Any]] = {
    "all DICOM objects": {},
    "SEG binary": ONLY_SEGMENTATIONS,
    "SEG binary, all frames": {**ONLY_SEGMENTATIONS, "omit_empty_frames": False},
    "SEG binary, deflate": {**ONLY_SEGMENTATIONS, "compression": "deflate"},
    "SEG labelmap": {**ONLY_SEGMENTATIONS, "segmentation_type": "labelmap"},
    "SEG labelmap, rle": {**ONLY_SEGMENTATIONS, "segmentation_type": "labelmap", "compression": "rle"},
    "SEG labelmap, jpeg_ls": {
        **ONLY_SEGMENTATIONS,
        "segmentation_type": "labelmap",
        "compression": "jpeg_ls",
    },
    "key slices": {"segmentations": False, "structured_report": False, "encapsulated_pdf": False},
}
"""Settings of :class:`lungct.settings.DicomSettings` by the name of the row."""


def measure_anatomy(n_slices: int, _: Path) -> None:
    """Measure finding airways and vessels, and compare them with the phantom's own."""
    phantom, volume = draw_chest(n_slices)
    print(f"{HEADER}{'Dice':>7}{'sensitivity':>13}{'precision':>11}")

    def describe(found: MaskArray, truth: MaskArray) -> str:
        sensitivity, precision = sensitivity_and_precision(found, truth)
        return f"{dice(found, truth):>7.3f}{sensitivity:>13.2f}{precision:>11.2f}"

    airways = measure(
        "airways",
        lambda: segment_airways(volume, phantom.lobes),
        partial(describe, truth=phantom.airways),
    )
    measure(
        "vessels",
        lambda: segment_vessels(volume, phantom.lobes, airways),
        partial(describe, truth=phantom.vessels),
    )


def measure_dicom_write(n_slices: int, _: Path) -> None:
    """Measure writing the results, by kind and encoding of the DICOM objects."""
    print(f"{HEADER}{'MB written':>12}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        analysis = analyse_truth(folder / "study", n_slices)

        def measure_files(what: str, write: Callable[[Path], object]) -> None:
            out = folder / what
            out.mkdir()
            files = (path for path in out.rglob("*") if path.is_file())
            measure(
                what,
                lambda: write(out),
                lambda _: f"{sum(path.stat().st_size for path in files) / 1e6:>12.1f}",
            )

        measure_files("all files", lambda out: deliver(out, OutputSettings(), analysis))
        for what, values in DICOM_OUTPUTS.items():
            write = partial(
                write_dicom,
                settings=DicomSettings(**values),
                analysis=analysis,
                pdf=None if values else lambda: PDF,
                created=datetime.now(),
            )
            measure_files(what, write)


def measure_report(n_slices: int, _: Path) -> None:
    """Measure the pictures, the PDF and the HTML of a report."""
    with tempfile.TemporaryDirectory() as folder:
        analysis = analyse_truth(Path(folder), n_slices)
    masks = analysis.anatomy.lobes, analysis.opacities.mask, analysis.tree
    content = write_content(analysis, Wording("en"))
    print(HEADER)
    measure("3-D picture, both views", lambda: render_lungs(analysis.chest.volume, *masks))
    illustrations = measure("all pictures", lambda: illustrate(analysis))
    measure("PDF", lambda: render_pdf(content, illustrations, datetime.now()))
    measure("HTML", lambda: render_html(analysis, content, illustrations))


def measure_lobes(n_slices: int, models: Path) -> None:
    """Measure labelling the lobes."""
    _measure_lobes(draw_chest(n_slices)[1], models, choose_device("auto"))


def _measure_lobes(volume: CtVolume, models: Path, device: torch.device) -> LungAnatomy:
    model = load_model(models, "lungs", LobeUNet, device)
    grid = coarse_grid(as_tensor(volume.volume_hu).to(device), volume.spacing_mm)
    print(f"on {device}\n{HEADER}")
    measure("lobe network alone", lambda: coarse_probabilities(grid, model.network), device=device)
    return measure("lungs and lobes", lambda: segment_lobes(volume, model), device=device)


def measure_devices(n_slices: int, models: Path) -> None:
    """Measure each network on CPU and GPU, and compare what both find."""
    on_cpu = _measure_networks(n_slices, models, CPU)
    if not torch.cuda.is_available():
        return
    print(torch.cuda.get_device_name())
    on_gpu = _measure_networks(n_slices, models, torch.device("cuda"))
    for what, first in on_cpu.items():
        second = on_gpu[what]
        if what == "probabilities":
            print(f"{what:<34} differ by at most {np.abs(first - second).max():.1e}")
            continue
        differing = np.count_nonzero(first != second) / max(int(np.count_nonzero(first)), 1)
        print(f"{what:<34} Dice {dice(first > 0, second > 0):.5f}, voxels that differ {differing:.2e}")


def _measure_networks(n_slices: int, models: Path, device: torch.device) -> dict[str, np.ndarray]:
    """Measure the networks and the vessels on one device; returns what they find."""
    phantom, volume = draw_chest(n_slices)
    opacity_model = build_opacity_model(verify_model(models, "opacity"), device)
    classifier = load_model(models, "classifier", Classifier3d, device)
    anatomy = _measure_lobes(volume, models, device)
    opacities = measure("opacities", lambda: segment_opacities(volume, anatomy, opacity_model), device=device)
    answer = measure("classifier", lambda: classify(volume, anatomy, classifier), device=device)
    vessels = measure(
        "vessels", lambda: segment_vessels(volume, anatomy.lobes, phantom.airways, device), device=device
    )
    probabilities = np.array(list(vars(answer.probabilities).values()))
    masks = {"lobes": anatomy.lobes, "opacities": opacities.mask, "vessels": vessels}
    return {**masks, "probabilities": probabilities}


STAGES: dict[str, Callable[[int, Path], None]] = {
    "anatomy": measure_anatomy,
    "devices": measure_devices,
    "dicom-write": measure_dicom_write,
    "lobes": measure_lobes,
    "report": measure_report,
}
"""Functions that measure a stage, given the number of slices and the folder of the weights, by command."""


def run(stage: str, n_slices: int, models: Path) -> None:
    """Print the table of a stage."""
    keep_freed_memory()
    torch.set_num_threads(N_THREADS)
    STAGES[stage](n_slices, models)
