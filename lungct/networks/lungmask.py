"""A second opinion on the lobes: the public model of lungmask, where a site has installed both.

lungmask (Hofmanninger et al. 2020, Eur Radiol Exp 4:50, Apache-2.0) segments slice by slice. Its package is
no requirement of this one, and its weights ``unet_ltrclobes-3a07043d.pth`` are neither shipped nor fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lungct.errors import ModelError
from lungct.networks.weights import file_sha256
from lungct.records import HuArray, MaskArray, ModelInfo

FOLDER = "lungmask"
WEIGHTS_FILE = "unet_ltrclobes-3a07043d.pth"
"""Trained on the LTRC data; the file that lungmask itself would fetch."""


@dataclass(frozen=True, eq=False)
class Lungmask:
    """The package with its weights; its codes are those of :attr:`lungct.records.Lobe.label`."""

    inferer: Any
    info: ModelInfo

    def label_lobes(self, volume_hu: HuArray) -> MaskArray:
        """Return the lobes ``[slices, rows, columns]`` of a canonical volume of the same shape."""
        return np.asarray(self.inferer.apply(np.asarray(volume_hu)), np.uint8)


def load_lungmask(models_dir: Path, device: torch.device) -> Lungmask:
    """Load package and weights.

    Args:
        models_dir: holds ``lungmask/unet_ltrclobes-3a07043d.pth``.
        device: where the network runs: CPU, or whatever GPU lungmask finds.

    Raises:
        ModelError: the package or its weights are not installed.
    """
    try:
        lungmask = import_module("lungmask")
    except ImportError as error:
        raise ModelError("lobe_segmenter lungmask is not installed: pip install lungmask") from error
    weights_file = models_dir / FOLDER / WEIGHTS_FILE
    if not weights_file.is_file():
        raise ModelError(f"{FOLDER}/{WEIGHTS_FILE} is missing: put it into the models folder")
    inferer = lungmask.LMInferer(
        modelpath=str(weights_file), force_cpu=device.type == "cpu", tqdm_disable=True
    )
    return Lungmask(
        inferer, ModelInfo(FOLDER, version("lungmask"), file_sha256(weights_file), provisional=True)
    )
