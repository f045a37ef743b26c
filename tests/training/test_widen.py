"""A wider network says what the narrow one said."""

from __future__ import annotations

import torch
from monai.networks.nets.basic_unet import BasicUNet
from torch.nn import functional

from lungct.networks.lobe_unet import FEATURES, N_CLASSES
from training.widen import widened


def test_wider_network_answers_for_every_part_as_the_old_one_for_the_whole() -> None:
    torch.manual_seed(0)
    narrow = BasicUNet(
        3, 1, N_CLASSES, [n // 2 for n in FEATURES], norm=("instance", {"affine": True})
    ).eval()
    wide = widened(narrow.state_dict(), noise=0.0).eval()
    grid = torch.rand(1, 1, 32, 64, 64)
    with torch.inference_mode():
        expected = functional.interpolate(narrow(functional.avg_pool3d(grid, 2)), scale_factor=2)
        assert torch.allclose(wide(grid), expected, atol=1e-4)
