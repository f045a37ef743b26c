"""The paper's 3-D convolutional classifier (Topff et al. 2023, Fig. 1)."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lungct.networks.device import multiplies_bfloat16
from lungct.networks.inputs import as_tensor, classifier_input
from lungct.networks.weights import LoadedModel, VerifiedModel, build_model
from lungct.records import HuArray, MaskArray

CLASSES = ("covid19", "other_infection", "no_infection")
"""Order of the classifier's outputs."""

FILTERS = (16, 16, 32, 64)
HIDDEN_UNITS = 128
DROPOUT = 0.30


class Classifier3d(nn.Sequential):
    """Four convolution blocks, global average pooling and two linear layers.

    Input ``[batch, 1, slices, rows, columns]`` (the paper: 64 x 224 x 224), output ``[batch, 3]`` logits in
    the order of :data:`CLASSES`. Padding keeps the size, so that only pooling shrinks it (ADR 0006).

    Attributes:
        shrink: voxels along each axis that are averaged before the first block, 1 in the paper; kept with the
            weights (ADR 0028).
    """

    def __init__(self, shrink: int = 1) -> None:
        """Initialise as PyTorch does by default, like the paper."""
        blocks = [_block(n_in, n_out) for n_in, n_out in pairwise((1, *FILTERS))]
        super().__init__(
            *blocks,
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
            nn.Linear(FILTERS[-1], HIDDEN_UNITS),
            nn.LeakyReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN_UNITS, len(CLASSES)),
        )
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.shrink = shrink

    def forward(self, volumes: Tensor) -> Tensor:
        """Return the logits ``[batch, 3]`` of volumes ``[batch, 1, slices, rows, columns]``."""
        x = functional.avg_pool3d(volumes, self.shrink) if self.shrink > 1 else volumes
        for layer in self:
            x = layer(x if isinstance(layer, _Block) else x.float())
        return x

    def get_extra_state(self) -> Tensor:
        """Return ``shrink``, which torch keeps beside the weights."""
        return torch.tensor(self.shrink)

    def set_extra_state(self, state: Tensor) -> None:
        """Take ``shrink`` from :meth:`get_extra_state`."""
        self.shrink = int(state)

    def round_to_bfloat16(self) -> None:
        """Round the convolutions; the layers behind the blocks stay in float32."""
        for block in self:
            if isinstance(block, _Block):
                block[0].to(torch.bfloat16)


def build_classifier(verified: VerifiedModel, device: torch.device) -> LoadedModel:
    """Return the network as it is fastest on the device (ADR 0027).

    Raises:
        ModelError: the weights are of another architecture.
    """
    model = build_model(verified, Classifier3d, device)
    if isinstance(model.network, Classifier3d) and multiplies_bfloat16(device):
        model.network.round_to_bfloat16()
    return model


@torch.inference_mode()
def class_logits(volume_hu: HuArray, lobes: MaskArray, network: nn.Module) -> Tensor:
    """Return the logits ``[3]`` of a chest, in the order of :data:`CLASSES`.

    Args:
        volume_hu: ``[slices, rows, columns]``, axes S, P, L.
        lobes: the same shape, non-zero inside the lungs.
        network: :class:`Classifier3d` with its weights.
    """
    device = next(network.parameters()).device
    hu = as_tensor(volume_hu).to(device)
    mask = as_tensor(lobes).to(device)
    logits: Tensor = network(classifier_input(hu, mask))
    return logits[0]


class _Block(nn.Sequential):
    """Convolution, activation, pooling and normalisation, as the paper has them."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool before the activation: the largest value stays the largest, and fewer are left."""
        convolution, activation, pool, normalisation = self
        return cast(Tensor, normalisation(activation(pool(convolution(x)))))


class _Conv3d(nn.Conv3d):
    """A convolution in oneDNN on a CPU, where torch takes a slow path for ones this narrow."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if x.device.type != "cpu" or not torch.backends.mkldnn.is_available():
            return cast(Tensor, super()._conv_forward(x, weight, bias))
        padding, as_they_are = cast(tuple[int, ...], self.padding), (self.stride, self.dilation, self.groups)
        return torch.mkldnn_convolution(x.to(weight.dtype), weight, bias, padding, *as_they_are)


def _block(n_in: int, n_out: int) -> _Block:
    return _Block(
        _Conv3d(n_in, n_out, kernel_size=3, padding=1),
        nn.LeakyReLU(),
        nn.MaxPool3d(2),
        nn.BatchNorm3d(n_out),
    )
