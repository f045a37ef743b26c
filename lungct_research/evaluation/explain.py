"""Picture of where the classifier looks.

One row a class: axial slices as the classifier sees them, warm where they speak for that class (3-D Grad-CAM,
Selvaraju et al. 2017, by MONAI). A map shows what moved the network, not what is ill.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from monai.visualize.class_activation_maps import GradCAM
from torch import Tensor, nn

from lungct.networks import Classifier3d
from lungct.networks.classifier3d import CLASSES
from lungct.networks.inputs import as_tensor, classifier_input
from lungct.networks.weights import load_model
from lungct_research.datasets.ct_files import read_ct
from lungct_research.evaluation.lobes import load_segmenter

LAST_CONVOLUTION = "3.0"
"""Layer of :class:`lungct.networks.Classifier3d` before it is pooled."""

N_SLICES = 6
INCHES_A_SLICE = 2.0
PIXELS_AN_INCH = 110


def activation_maps(network: nn.Module, volume: Tensor, layer: str = LAST_CONVOLUTION) -> np.ndarray:
    """Map what speaks for each class.

    Args:
        network: a classifier in evaluation mode.
        volume: ``[1, 1, slices, rows, columns]``.
        layer: whose activations are weighted.

    Returns:
        ``[classes, slices, rows, columns]``, not negative; a common scale, so that classes compare.
    """
    explain = GradCAM(network, layer, postprocessing=lambda found: found)
    maps = [explain(volume, class_idx=index)[0, 0].detach().numpy() for index in range(len(CLASSES))]
    return np.stack(maps)


def draw(volume: np.ndarray, maps: np.ndarray, path: Path) -> None:
    """Write the picture.

    Args:
        volume: ``[slices, rows, columns]`` in (0, 1), slice 0 the most caudal.
        maps: ``[classes, slices, rows, columns]``.
        path: PNG file.
    """
    inches = (INCHES_A_SLICE * N_SLICES, INCHES_A_SLICE * len(CLASSES))
    figure = Figure(inches, PIXELS_AN_INCH, layout="constrained")
    with_lung = np.flatnonzero(volume.any(axis=(1, 2)))
    places = np.linspace(with_lung[-1], with_lung[0], N_SLICES + 2)[1:-1].round().astype(int)
    shares = maps / max(float(maps.max()), np.finfo(float).tiny)
    rows = figure.subplots(len(CLASSES), N_SLICES)
    for row, name, share in zip(rows, CLASSES, shares, strict=True):
        row[0].set_title(name, loc="left")
        for axes, place in zip(row, places, strict=True):
            axes.imshow(volume[place], cmap="gray", vmin=0, vmax=1)
            axes.imshow(share[place], cmap="hot", vmin=0, vmax=1, alpha=0.6 * share[place])
            axes.set_axis_off()
    figure.savefig(path)


def run(path: Path, models: Path, out: Path) -> None:
    """Draw one CT.

    Raises:
        LungCtError: the CT cannot be read, or a network cannot be loaded.
    """
    segment = load_segmenter(models)
    classifier = load_model(models, "classifier", Classifier3d, torch.device("cpu")).network
    volume, _ = read_ct(path)
    seen = classifier_input(as_tensor(volume.volume_hu), as_tensor(segment(volume).lobes))
    draw(seen[0, 0].numpy(), activation_maps(classifier, seen), out)
