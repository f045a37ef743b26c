"""Weights on the line between two networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.blend import blended


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.25, 2.0), (1.0, 5.0)])
def test_share_says_how_far_from_start_to_end(share: float, expected: float) -> None:
    start, end = nn.Linear(2, 2), nn.Linear(2, 2)
    for network, value in ((start, 1.0), (end, 5.0)):
        nn.init.constant_(network.weight, value)
        nn.init.constant_(network.bias, value)
    mixed = blended(start, end, share)
    assert torch.allclose(mixed.weight, torch.full((2, 2), expected))
    assert torch.allclose(mixed.bias, torch.full((2,), expected))
