"""Opacities are thresholded inside the lobes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from lungct.anatomy.opacities import segment_opacities
from lungct.inference.weights import LoadedModel
from lungct.records import CtVolume, LungAnatomy, ModelInfo

INFO = ModelInfo("opacity", "0", "0", provisional=True)


class BrightIsOpaque(nn.Module):
    """Probability 0.6 where the picture is brighter than half."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(0.4055))
        self.n_slices = 0

    def forward(self, images: Tensor) -> Tensor:
        self.n_slices += images.shape[0]
        return torch.where(images[:, :1] > 0.5, self.logit, -5.0)


def chest() -> tuple[CtVolume, LungAnatomy]:
    volume_hu = np.full((12, 320, 320), -850, np.int16)
    volume_hu[:, 100:130, 100:130] = 0
    volume_hu[:, 250:280, 250:280] = 0
    volume_hu[5, 60, 60] = 0
    lobes = np.zeros(volume_hu.shape, np.uint8)
    lobes[2:9, 40:200, 40:200] = 1
    return CtVolume(volume_hu, np.diag([2, 1, 1, 1.0])[[2, 1, 0, 3]]), LungAnatomy(lobes, INFO)


def found(threshold: float) -> tuple[np.ndarray, BrightIsOpaque]:
    network = BrightIsOpaque()
    volume, anatomy = chest()
    return segment_opacities(
        volume, anatomy, LoadedModel(network, INFO, {"threshold": threshold})
    ).mask, network


def test_opacities_lie_inside_the_lobes_only() -> None:
    mask, _ = found(threshold=0.5)
    assert mask[2:9, 102:128, 102:128].all()
    assert mask[:, 250:280, 250:280].sum() == 0
    assert mask[[0, 1, 9, 10, 11]].sum() == 0


def test_threshold_of_the_model_decides() -> None:
    assert found(threshold=0.7)[0].sum() == 0


def test_specks_are_dropped() -> None:
    mask, _ = found(threshold=0.5)
    assert mask[5, 60, 60] == 0


def test_only_slices_with_lung_are_looked_at() -> None:
    _, network = found(threshold=0.5)
    assert network.n_slices == 7
