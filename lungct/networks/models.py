"""The networks of an analysis: verified first, built when a stage needs them, kept for the next study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from lungct.networks.classifier3d import build_classifier
from lungct.networks.device import choose_device
from lungct.networks.lobe_unet import LobeUNet
from lungct.networks.lungmask import Lungmask, load_lungmask
from lungct.networks.opacity_unet import build_opacity_model
from lungct.networks.weights import LoadedModel, VerifiedModel, build_model, verify_model
from lungct.settings import Settings

LOBES, CLASSIFIER, OPACITIES = "lungs", "classifier", "opacity"
"""Folders below the models folder."""


@dataclass(frozen=True, eq=False)
class Models:
    """Verified weights and the networks that are built from them.

    A network is built when a stage first asks for it, since its libraries take seconds to import, and a study
    without an eligible series needs none.

    Attributes:
        weights: verified weights by folder.
        lungmask: takes the place of our own network for the lobes where the settings say so.
    """

    device: torch.device
    weights: Mapping[str, VerifiedModel]
    lungmask: Lungmask | None = None

    @cached_property
    def lobes(self) -> LoadedModel | Lungmask:
        """Network that labels the lobes."""
        return self.lungmask or build_model(self.weights[LOBES], LobeUNet, self.device)

    @cached_property
    def classifier(self) -> LoadedModel:
        """Network that classifies the chest."""
        return build_classifier(self.weights[CLASSIFIER], self.device)

    @cached_property
    def opacities(self) -> LoadedModel:
        """Network that marks opacities on slices."""
        return build_opacity_model(self.weights[OPACITIES], self.device)


def verify_models(folder: Path, settings: Settings) -> Models:
    """Compare the weights of all networks that the settings ask for with their checksums.

    Raises:
        SettingsError: the device is not available.
        ModelError: files are missing, or a checksum differs.
    """
    device = choose_device(settings.device)
    weights = {
        CLASSIFIER: verify_model(folder, CLASSIFIER),
        OPACITIES: verify_model(folder, OPACITIES, ("threshold",)),
    }
    if settings.lobe_segmenter == "lungmask":
        return Models(device, weights, load_lungmask(folder, device))
    return Models(device, weights | {LOBES: verify_model(folder, LOBES)})
