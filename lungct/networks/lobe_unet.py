"""The network for lungs and lobes: a 3-D U-Net that sees the whole chest at once, fissures included."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import max_pool3d

from lungct.networks.inputs import average_to_spacing, window

N_CLASSES = 6
"""Background and the five lobes, in the order of :class:`lungct.records.Lobe`."""

GRID_SPACING_MM = 2.5
"""Spacing of the isotropic grid of input and output, on which fissures can still be seen."""

FOLD = 2
"""Voxels folded into channels along each axis: the convolutions run on a grid of 5 mm, eight times as fast
and in an eighth of the memory. Own decision, after Shi et al. 2016, arXiv 1609.05158."""

STRIDE = 32
"""Every side of the input is a multiple of this."""

FEATURES = (32, 48, 96, 192, 256)
"""Channels from the finest level to the coarsest."""

LAST_FEATURES = 48
"""Channels of the finest level on the way up."""

NEGATIVE_SLOPE = 0.1

PARENCHYMA_GREY = (0.18, 0.43)
"""-980 to -605 HU in the lung window: a second look at the densities among which fissures stand out."""


class LobeUNet(nn.Module):
    """A U-Net on folded voxels.

    Input ``[batch, 1, slices, rows, columns]``: the chest on a 2.5 mm grid, axes S, P, L, in the lung window
    (:func:`lungct.networks.inputs.window`). Output: logits ``[batch, 6, slices, rows, columns]``.
    """

    def __init__(self) -> None:
        """Build the network untrained."""
        super().__init__()
        self.unet = _UNet(2 * FOLD**3, N_CLASSES * FOLD**3)

    def forward(self, grid: Tensor) -> Tensor:
        """Return the logits of a chest."""
        low, high = PARENCHYMA_GREY
        looks = torch.cat([grid, ((grid - low) / (high - low)).clamp(0.0, 1.0)], dim=1)
        return _unfolded(self.unet(_folded(looks)))


def coarse_grid(volume_hu: Tensor, spacing_mm: tuple[float, float, float]) -> Tensor:
    """Return the chest as the lobe network takes it, before padding.

    Args:
        volume_hu: ``[slices, rows, columns]``, axes S, P, L.
        spacing_mm: of the three axes.

    Returns:
        ``[1, 1, slices, rows, columns]`` in the lung window, every voxel the average of about 2.5 mm cubed.
    """
    return window(average_to_spacing(volume_hu, spacing_mm, GRID_SPACING_MM)[None, None])


def pad_to_stride(grid: Tensor) -> Tensor:
    """Pad the far end of the last three axes with air up to a multiple of the network's stride."""
    padding = [pad for n in reversed(grid.shape[2:]) for pad in (0, -n % STRIDE)]
    return functional.pad(grid, padding)


@torch.inference_mode()
def coarse_probabilities(grid: Tensor, network: torch.nn.Module) -> Tensor:
    """Return class probabilities ``[6, slices, rows, columns]`` on the grid of :func:`coarse_grid`."""
    n_slices, n_rows, n_columns = grid.shape[2:]
    logits: Tensor = network(pad_to_stride(grid))[0, :, :n_slices, :n_rows, :n_columns]
    return logits.softmax(dim=0)


class _UNet(nn.Module):
    """The architecture of MONAI's ``BasicUNet``, and its names of weights, without the import of MONAI.

    That import takes longer than the network (ADR 0023).
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        finest, fine, middle, coarse, coarsest = FEATURES
        self.conv_0 = _convolutions(n_in, finest)
        self.down_1 = _Down(finest, fine)
        self.down_2 = _Down(fine, middle)
        self.down_3 = _Down(middle, coarse)
        self.down_4 = _Down(coarse, coarsest)
        self.upcat_4 = _Up(coarsest, coarsest // 2, coarse, coarse)
        self.upcat_3 = _Up(coarse, coarse // 2, middle, middle)
        self.upcat_2 = _Up(middle, middle // 2, fine, fine)
        self.upcat_1 = _Up(fine, fine, finest, LAST_FEATURES)
        self.final_conv = nn.Conv3d(LAST_FEATURES, n_out, kernel_size=1)

    def forward(self, voxels: Tensor) -> Tensor:
        finest = self.conv_0(voxels)
        fine = self.down_1(finest)
        middle = self.down_2(fine)
        coarse = self.down_3(middle)
        up = self.upcat_4(self.down_4(coarse), coarse)
        up = self.upcat_2(self.upcat_3(up, middle), fine)
        logits: Tensor = self.final_conv(self.upcat_1(up, finest))
        return logits


class _Down(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.convs = _convolutions(n_in, n_out)

    def forward(self, finer: Tensor) -> Tensor:
        features: Tensor = self.convs(max_pool3d(finer, 2))
        return features


class _Up(nn.Module):
    def __init__(self, n_in: int, n_up: int, n_beside: int, n_out: int) -> None:
        super().__init__()
        self.upsample = nn.Sequential(
            OrderedDict(deconv=nn.ConvTranspose3d(n_in, n_up, kernel_size=2, stride=2))
        )
        self.convs = _convolutions(n_beside + n_up, n_out)

    def forward(self, coarser: Tensor, beside: Tensor) -> Tensor:
        features: Tensor = self.convs(torch.cat([beside, self.upsample(coarser)], dim=1))
        return features


def _convolutions(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv_0=_convolution(n_in, n_out), conv_1=_convolution(n_out, n_out)))


def _convolution(n_in: int, n_out: int) -> nn.Sequential:
    norm = nn.InstanceNorm3d(n_out, affine=True)
    activation = nn.LeakyReLU(negative_slope=NEGATIVE_SLOPE, inplace=True)
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv3d(n_in, n_out, kernel_size=3, padding=1),
            adn=nn.Sequential(OrderedDict(N=norm, A=activation)),
        )
    )


def _folded(voxels: Tensor) -> Tensor:
    """Turn ``[batch, n, 2s, 2r, 2c]`` into ``[batch, 8n, s, r, c]``: 2 x 2 x 2 voxels become channels."""
    batch, channels, slices, rows, columns = voxels.shape
    blocks = voxels.reshape(batch, channels, slices // FOLD, FOLD, rows // FOLD, FOLD, columns // FOLD, FOLD)
    return blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(
        batch, channels * FOLD**3, slices // FOLD, rows // FOLD, columns // FOLD
    )


def _unfolded(blocks: Tensor) -> Tensor:
    """Invert :func:`_folded`."""
    batch, channels, slices, rows, columns = blocks.shape
    voxels = blocks.reshape(batch, channels // FOLD**3, FOLD, FOLD, FOLD, slices, rows, columns)
    return voxels.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(
        batch, channels // FOLD**3, slices * FOLD, rows * FOLD, columns * FOLD
    )
