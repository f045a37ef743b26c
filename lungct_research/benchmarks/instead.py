"""What a user would pick instead of a part of the application, to measure each alone in a process."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch

from lungct.networks.device import keep_freed_memory
from lungct.records import Chest, CtVolume, LungAnatomy
from lungct_research.benchmarks.measure import best_seconds, seconds_and_peak_mb
from lungct_research.benchmarks.study import N_THREADS

N_RUNS = 3
"""Of which the fastest counts. A study is read into memory that is new to the process; networks run in memory
that stages before them have left, as in the application."""

N_SLICES = 24
"""Of the networks that work slice by slice."""

CPU = torch.device("cpu")
MODELS = Path(__file__).resolve().parents[2] / "models"

Prepared = Callable[[], object]


def read_ours(study: Path) -> Prepared:
    """Headers of all series, pixels of the chosen one."""
    from lungct.dicom_read import choose_series, read_chest, scan_folder
    from lungct.settings import SelectionLimits

    return lambda: read_chest(choose_series(scan_folder(study), SelectionLimits()))


def read_sdk(study: Path) -> Prepared:
    """The operators that MONAI Deploy brings, with a rule that selects CT."""
    from monai.deploy.core.fragment import Fragment
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

    def read() -> object:
        studies = loader.load_data_to_studies(study)
        return to_volume.convert_to_image(selector.filter(rules, studies))

    return read


def read_simpleitk(study: Path) -> Prepared:
    """The series with most files, by GDCM's order."""
    import SimpleITK as sitk  # noqa: N813 - its own name for itself

    def read() -> object:
        series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(study))
        names = [sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(study), one) for one in series]
        return sitk.GetArrayFromImage(sitk.ReadImage(max(names, key=len)))

    return read


def unet_ours(study: Path) -> Prepared:
    """The opacity network as the application runs it, on slices of the study."""
    from lungct.findings.opacities import seen_around
    from lungct.networks.opacity_unet import BATCH_SLICES, build_opacity_model, opacity_probability
    from lungct.networks.weights import verify_model

    keep_freed_memory()
    network = build_opacity_model(verify_model(MODELS, "opacity"), CPU).network
    slices_hu, footprint = _lung_slices(study)
    seen = seen_around(footprint)
    batches = np.array_split(slices_hu, max(len(slices_hu) // BATCH_SLICES, 1))
    return lambda: [opacity_probability(batch, network, seen) for batch in batches]


def unet_plain(study: Path) -> Prepared:
    """The same network on the same slices, one at a time, in float32, as torch is installed."""
    from lungct.networks import opacity_unet
    from lungct.networks.inputs import segmenter_input
    from lungct.networks.weights import load_model

    network = load_model(MODELS, "opacity", opacity_unet, CPU).network
    slices_hu, _ = _lung_slices(study)
    images = [segmenter_input(torch.from_numpy(one[None])).expand(-1, 3, -1, -1) for one in slices_hu]
    return lambda: [network(image.contiguous()) for image in images]


def _lung_slices(study: Path) -> tuple[np.ndarray, np.ndarray]:
    """``N_SLICES`` slices in the middle of the study, and rows and columns with lung in any of them."""
    volume, segment = _volume(study), _segment_lobes()
    lobes = segment(volume).lobes
    first = len(lobes) // 2 - N_SLICES // 2
    middle = slice(first, first + N_SLICES)
    return np.ascontiguousarray(volume.volume_hu[middle]), np.any(lobes[middle] > 0, axis=0)


def _volume(study: Path) -> CtVolume:
    chest = read_ours(study)()
    assert isinstance(chest, Chest)  # noqa: S101
    return chest.volume


def _segment_lobes() -> Callable[[CtVolume], LungAnatomy]:
    from lungct.anatomy.lungs import segment_lobes
    from lungct.networks import LobeUNet
    from lungct.networks.weights import load_model

    model = load_model(MODELS, "lungs", LobeUNet, CPU)
    return lambda volume: segment_lobes(volume, model)


def cnn_ours(_: Path) -> Prepared:
    """The 3-D classifier as the application runs it."""
    from lungct.networks.classifier3d import Classifier3d, build_classifier
    from lungct.networks.weights import verify_model

    keep_freed_memory()
    network = cast(Classifier3d, build_classifier(verify_model(MODELS, "classifier"), CPU).network)
    volume = torch.rand(1, 1, 64, 224, 224)
    network.shrink = 1  # the whole size, whatever the weights are for
    return lambda: network(volume)


def cnn_plain(_: Path) -> Prepared:
    """The same layers of torch as they come."""
    from lungct.networks import Classifier3d

    network, volume = Classifier3d().eval(), torch.rand(1, 1, 64, 224, 224)
    for block in cast("list[torch.nn.Sequential]", list(network)[:4]):
        block.__class__, block[0].__class__ = torch.nn.Sequential, torch.nn.Conv3d
    for weight in network.parameters():
        weight.data = weight.data.contiguous()
    return lambda: network(volume)


def lobes_ours(study: Path) -> Prepared:
    """Lungs and lobes of the whole study as the application finds them."""
    keep_freed_memory()
    volume, segment = _volume(study), _segment_lobes()
    return lambda: segment(volume)


def lobes_lungmask(study: Path) -> Prepared:
    """The pipeline of lungmask with random weights, which take as long as trained ones."""
    import tempfile

    import lungmask
    from lungmask.resunet import UNet

    volume = _volume(study)
    with tempfile.NamedTemporaryFile(suffix=".pth") as weights:
        torch.save(
            UNet(n_classes=6, padding=True, depth=5, up_mode="upsample", batch_norm=True).state_dict(),
            weights.name,
        )
        inferer = lungmask.LMInferer(modelpath=weights.name, force_cpu=True, tqdm_disable=True)
    return lambda: inferer.apply(np.asarray(volume.volume_hu))


PREPARE: dict[str, Callable[[Path], Prepared]] = {
    "reading, application": read_ours,
    "reading, SDK operators": read_sdk,
    "reading, SimpleITK": read_simpleitk,
    "opacity network, application": unet_ours,
    "opacity network, plain loop": unet_plain,
    "classifier, application": cnn_ours,
    "classifier, plain": cnn_plain,
    "lobes, application": lobes_ours,
    "lobes, lungmask": lobes_lungmask,
}

SLOW = ("lobes, lungmask", "opacity network, plain loop")
"""Measured once: beside their work imports do not count."""


def measured(what: str, study: Path) -> dict[str, float]:
    """Return the seconds of one of them, and the peak in MB of memory above what the imports took."""
    torch.set_num_threads(N_THREADS)
    with torch.inference_mode():
        work = PREPARE[what](study)
        if what in SLOW:
            seconds, peak_mb = seconds_and_peak_mb(work)
            return {"seconds": seconds, "peak_mb": peak_mb}
        work()  # imports what is imported late
        seconds, peak_mb = min(seconds_and_peak_mb(work) for _ in range(N_RUNS))
        if not what.startswith("reading"):
            seconds = best_seconds(work, N_RUNS)
    return {"seconds": seconds, "peak_mb": peak_mb}
