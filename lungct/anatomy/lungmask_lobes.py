"""A second opinion on the lobes: the public model of lungmask, where a site has installed both.

lungmask (Hofmanninger et al. 2020, Eur Radiol Exp 4:50, Apache-2.0) segments slice by slice. Its package is
no requirement of this one, and its weights ``unet_ltrclobes-3a07043d.pth`` are neither shipped nor fetched.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from lungct.anatomy.lungs import require_aerated_lung
from lungct.errors import ModelError
from lungct.networks.weights import file_sha256
from lungct.records import CtVolume, LungAnatomy, ModelInfo

FOLDER = "lungmask"
WEIGHTS_FILE = "unet_ltrclobes-3a07043d.pth"
"""Trained on the LTRC data; the file that lungmask itself would fetch."""


class LungmaskLobes:
    """Labels the five lobes with lungmask, whose codes are those of :attr:`lungct.records.Lobe.label`."""

    def __init__(self, models_dir: Path, device: torch.device) -> None:
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
        self._inferer = lungmask.LMInferer(
            modelpath=str(weights_file), force_cpu=device.type == "cpu", tqdm_disable=True
        )
        self._info = ModelInfo(FOLDER, version("lungmask"), file_sha256(weights_file), provisional=True)

    def __call__(self, volume: CtVolume) -> LungAnatomy:
        """Lobes of a canonical volume on its grid, without confidence.

        Raises:
            NoLungError: the volume shows no lungs.
        """
        lobes = np.asarray(self._inferer.apply(np.asarray(volume.volume_hu)), np.uint8)
        require_aerated_lung(volume, lobes)
        return LungAnatomy(lobes, self._info)
