"""The network for lungs and lobes: a small 3-D U-Net that sees the whole chest at once."""

from __future__ import annotations

from torch import nn

N_CLASSES = 6
"""Background and the five lobes, in the order of :class:`lungct.records.Lobe`."""

GRID_SPACING_MM = 5.0
"""The network works on an isotropic grid of this spacing."""

STRIDE = 16
"""Every side of the input is a multiple of this."""

FEATURES = (16, 16, 32, 64, 128, 16)


def lobe_unet() -> nn.Module:
    """An untrained network.

    Input ``[batch, 1, slices, rows, columns]``: the chest on a 5 mm grid, axes S, P, L, in the lung window
    (:func:`lungct.preprocessing.window`). Output: logits ``[batch, 6, slices, rows, columns]``.
    """
    from monai.networks.nets.basic_unet import BasicUNet

    network: nn.Module = BasicUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=N_CLASSES,
        features=FEATURES,
        norm=("instance", {"affine": True}),
    )
    return network
