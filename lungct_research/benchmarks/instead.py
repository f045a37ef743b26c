"""Parts of the application and what a user would pick instead of them, each alone in a process."""

from __future__ import annotations

import json
import logging
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch

from lungct.dicom_read import choose_series, read_chest, scan_folder
from lungct.file_names import packaged_models
from lungct.networks.device import keep_freed_memory
from lungct_research.benchmarks.measure import CPU, run_measured
from lungct_research.benchmarks.study import N_THREADS

N_RUNS = 3
"""Runs of which the fastest counts."""

N_SLICES = 24
"""Slices that the opacity network sees."""

Work = Callable[[], object]


def read_ours(study: Path) -> Work:
    """Read the headers of all series and the pixels of the chosen one."""
    return lambda: read_chest(choose_series(scan_folder(study)))


def read_sdk(study: Path) -> Work:
    """Read with the operators that MONAI Deploy brings, and a rule that selects CT."""
    from monai.deploy.core import Fragment
    from monai.deploy.operators import (
        DICOMDataLoaderOperator,
        DICOMSeriesSelectorOperator,
        DICOMSeriesToVolumeOperator,
    )

    logging.disable()
    fragment = Fragment()
    loader = DICOMDataLoaderOperator(fragment, name="loader", input_folder=study)
    rules = {"selections": [{"name": "CT", "conditions": {"Modality": "CT"}}]}
    selector = DICOMSeriesSelectorOperator(fragment, name="selector", rules=json.dumps(rules))
    to_volume = DICOMSeriesToVolumeOperator(fragment, name="to_volume")
    return lambda: to_volume.convert_to_image(selector.filter(rules, loader.load_data_to_studies(study)))


def unet_ours(study: Path) -> Work:
    """Run the opacity network as the application does, on slices of the study."""
    from lungct.anatomy.lungs import segment_lobes
    from lungct.findings.opacities import seen_around
    from lungct.networks import LobeUNet
    from lungct.networks.opacity_unet import BATCH_SLICES, build_opacity_model, opacity_probability
    from lungct.networks.weights import load_model, verify_model

    keep_freed_memory()
    models = packaged_models()
    network = build_opacity_model(verify_model(models, "opacity"), CPU).network
    volume = read_chest(choose_series(scan_folder(study))).volume
    lobes = segment_lobes(volume, load_model(models, "lungs", LobeUNet, CPU)).lobes
    seen = seen_around(np.any(_take_middle(lobes) > 0, axis=0))
    batches = np.array_split(_take_middle(volume.volume_hu), max(N_SLICES // BATCH_SLICES, 1))
    return lambda: [opacity_probability(batch, network, seen) for batch in batches]


def unet_plain(study: Path) -> Work:
    """Run the same network on the same slices, one at a time, in float32, as torch is installed."""
    from lungct.networks import opacity_unet
    from lungct.networks.inputs import segmenter_input
    from lungct.networks.weights import load_model

    network = load_model(packaged_models(), "opacity", opacity_unet, CPU).network
    volume_hu = read_chest(choose_series(scan_folder(study))).volume.volume_hu
    slices_hu = torch.from_numpy(_take_middle(volume_hu))[:, None]
    images = [segmenter_input(one).expand(-1, 3, -1, -1) for one in slices_hu]
    return lambda: [network(image.contiguous()) for image in images]


def _take_middle(slices: np.ndarray) -> np.ndarray:
    first = len(slices) // 2 - N_SLICES // 2
    return np.ascontiguousarray(slices[first : first + N_SLICES])


def cnn_ours(_: Path) -> Work:
    """Run the 3-D classifier as the application does, at the whole size."""
    from lungct.networks.classifier3d import Classifier3d, build_classifier
    from lungct.networks.weights import verify_model

    keep_freed_memory()
    network = cast(Classifier3d, build_classifier(verify_model(packaged_models(), "classifier"), CPU).network)
    network.shrink = 1  # the whole size, whatever the weights are for
    volume = torch.rand(1, 1, 64, 224, 224)
    return lambda: network(volume)


def cnn_plain(_: Path) -> Work:
    """Run the same layers of torch as they come."""
    from lungct.networks import Classifier3d

    network, volume = Classifier3d().eval(), torch.rand(1, 1, 64, 224, 224)
    for block in cast("list[torch.nn.Sequential]", list(network)[:4]):
        block.__class__, block[0].__class__ = torch.nn.Sequential, torch.nn.Conv3d
    for weight in network.parameters():
        weight.data = weight.data.contiguous()
    return lambda: network(volume)


PREPARE: dict[str, Callable[[Path], Work]] = {
    "reading, application": read_ours,
    "reading, SDK operators": read_sdk,
    "opacity network, application": unet_ours,
    "opacity network, plain loop": unet_plain,
    "classifier, application": cnn_ours,
    "classifier, plain": cnn_plain,
}


def measure_part(what: str, study: Path) -> dict[str, float]:
    """Return the seconds of one of them, and the peak in MB of memory above what the imports took.

    A study is read into memory that is new to the process; networks run in memory that stages before them
    have left, as in the application.
    """
    torch.set_num_threads(N_THREADS)
    with torch.inference_mode():
        work = PREPARE[what](study)
        work()  # imports what is imported late
        seconds, peak_mb = min(run_measured(work)[1:] for _ in range(N_RUNS))
        if not what.startswith("reading"):
            seconds = min(timeit.repeat(work, number=1, repeat=N_RUNS))
    return {"seconds": seconds, "peak_mb": peak_mb}
