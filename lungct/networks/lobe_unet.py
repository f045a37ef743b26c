"""The network for lungs and lobes: a 3-D U-Net that sees the whole chest at once, fissures included."""

from __future__ import annotations

import torch
from torch import Tensor, nn

N_CLASSES = 6
"""Background and the five lobes, in the order of :class:`lungct.records.Lobe`."""

GRID_SPACING_MM = 2.5
"""The network takes and gives an isotropic grid of this spacing, on which fissures can still be seen."""

FOLD = 2
"""Voxels folded into channels along each axis: the convolutions run on a grid of 5 mm, eight times as fast
and in an eighth of the memory. Own decision, after Shi et al. 2016, arXiv 1609.05158."""

STRIDE = 32
"""Every side of the input is a multiple of this."""

FEATURES = (32, 48, 96, 192, 256, 48)

PARENCHYMA_GREY = (0.18, 0.43)
"""-980 to -605 HU in the lung window: a second look at the densities among which fissures stand out."""


class LobeUNet(nn.Module):
    """A U-Net on folded voxels.

    Input ``[batch, 1, slices, rows, columns]``: the chest on a 2.5 mm grid, axes S, P, L, in the lung window
    (:func:`lungct.preprocessing.window`). Output: logits ``[batch, 6, slices, rows, columns]``.
    """

    def __init__(self) -> None:
        """Build it untrained."""
        super().__init__()
        from monai.networks.nets.basic_unet import BasicUNet

        self.unet = BasicUNet(
            spatial_dims=3,
            in_channels=2 * FOLD**3,
            out_channels=N_CLASSES * FOLD**3,
            features=FEATURES,
            norm=("instance", {"affine": True}),
        )

    def forward(self, grid: Tensor) -> Tensor:
        """Logits of a chest."""
        from monai.networks.utils import pixelshuffle, pixelunshuffle

        low, high = PARENCHYMA_GREY
        looks = torch.cat([grid, ((grid - low) / (high - low)).clamp(0.0, 1.0)], dim=1)
        folded: Tensor = self.unet(pixelunshuffle(looks, 3, FOLD))
        logits: Tensor = pixelshuffle(folded, 3, FOLD)
        return logits
