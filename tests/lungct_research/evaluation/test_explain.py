"""The maps light up where a network looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from lungct.networks import Classifier3d
from lungct.networks.classifier3d import CLASSES
from lungct_research.evaluation.explain import activation_maps, draw

SHAPE = (8, 16, 16)


def looks_for_brightness() -> nn.Module:
    """Brightness speaks for the first class and against the second; the third does not care."""
    network = nn.Sequential(nn.Conv3d(1, 1, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(1, 3))
    with torch.no_grad():
        network[0].weight.fill_(1), network[0].bias.fill_(0)
        network[3].weight.copy_(torch.tensor([[1.0], [-1.0], [0.0]])), network[3].bias.fill_(0)
    return network.eval()


def test_a_map_is_warm_where_the_class_is_found() -> None:
    volume = torch.zeros(1, 1, *SHAPE)
    volume[0, 0, 2:4, 8:12, 4:8] = 1
    first, second, third = activation_maps(looks_for_brightness(), volume, layer="0")
    assert np.array_equal(first > 0, volume[0, 0].numpy() > 0)
    assert not second.any()
    assert not third.any()


def test_every_class_of_the_classifier_is_drawn(tmp_path: Path) -> None:
    torch.manual_seed(0)
    volume = torch.rand(1, 1, 32, 32, 32)
    maps = activation_maps(Classifier3d().eval(), volume)
    assert maps.shape == (len(CLASSES), 32, 32, 32)
    assert (maps >= 0).all()
    draw(volume[0, 0].numpy(), maps, tmp_path / "looks.png")
    drawn = np.asarray(Image.open(tmp_path / "looks.png").convert("RGB"), int)
    assert np.ptp(drawn, axis=2).max() > 30
