"""The opacity U-Net in 8-bit integers, for CPUs (ADR 0027).

Weights are rounded to 7 bits for every output channel and activations to 8 bits, so that the sums of products
of CPUs that add them in 16 bits cannot overflow, and every CPU finds the same.
"""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

ENGINE = "onednn"
HIGHEST_WEIGHT = 63
HIGHEST_UNSIGNED, HIGHEST_SIGNED, ZERO_OF_SIGNED = 255, 127, 128
BLOCKS_OF_LAYER = {1: 3, 2: 4, 3: 6, 4: 3}
"""Of a ResNet-34."""

HEAD = "segmentation_head.0"
HALVES = re.compile(r"encoder\.(conv1|layer[234]\.0\.(conv1|downsample\.0))$")
"""Convolutions that halve the size."""

EPSILON = 1e-5
"""Of the batch normalisation."""

State = Mapping[str, Tensor]
"""Weights by name."""


@dataclass(frozen=True, eq=False)
class _Convolution:
    """A convolution with the batch normalisation that follows it folded in."""

    weight: Tensor
    bias: Tensor
    stride: int

    @property
    def padding(self) -> int:
        """That keeps the size at stride 1."""
        return self.weight.shape[-1] // 2


class _Layers(ABC):
    """The layers of the U-Net by name; how they are computed is up to the subclass."""

    @abstractmethod
    def convolve(self, name: str, x: Tensor, *, rectify: bool = True, add: Tensor | None = None) -> Tensor:
        """A convolution, then the sum with ``add``, then ReLU."""

    @abstractmethod
    def join(self, one: Tensor, other: Tensor) -> Tensor:
        """Both along the channels."""

    def walk(self, images: Tensor) -> Tensor:
        """What goes into the head, from ``[batch, 1, rows, columns]``."""
        features = [self.convolve("encoder.conv1", images)]
        x = functional.max_pool2d(features[0], 3, 2, 1)
        for layer, n_blocks in BLOCKS_OF_LAYER.items():
            for block in range(n_blocks):
                x = self._residual_block(f"encoder.layer{layer}.{block}", x, narrows=layer > 1 and block == 0)
            features.append(x)
        for block, skip in enumerate([*features[-2::-1], None]):
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = x if skip is None else self.join(x, skip)
            for convolution in ("conv1.0", "conv2.0"):
                x = self.convolve(f"decoder.blocks.{block}.{convolution}", x)
        return x

    def _residual_block(self, name: str, x: Tensor, *, narrows: bool) -> Tensor:
        shortcut = self.convolve(f"{name}.downsample.0", x, rectify=False) if narrows else x
        return self.convolve(f"{name}.conv2", self.convolve(f"{name}.conv1", x), add=shortcut)


class _Observed(_Layers):
    """Float layers that remember the largest magnitude of what leaves each of them."""

    def __init__(self, state: State) -> None:
        self.convolutions = _folded(state)
        self.maxima: dict[str, float] = {}

    def convolve(self, name: str, x: Tensor, *, rectify: bool = True, add: Tensor | None = None) -> Tensor:
        of = self.convolutions[name]
        x = functional.conv2d(x, of.weight, of.bias, of.stride, of.padding)
        x = x if add is None else x + add
        x = x.relu() if rectify else x
        self.maxima[name] = max(self.maxima.get(name, 0.0), float(x.abs().max()))
        return x

    def join(self, one: Tensor, other: Tensor) -> Tensor:
        return torch.cat([one, other], 1)


class _Quantized(_Layers):
    """Integer layers."""

    def __init__(self, state: State, maxima: Mapping[str, float]) -> None:
        torch.backends.quantized.engine = ENGINE
        self.packed = {name: _packed(convolution) for name, convolution in _folded(state).items()}
        self.maxima = maxima

    def convolve(self, name: str, x: Tensor, *, rectify: bool = True, add: Tensor | None = None) -> Tensor:
        run, packed, highest = torch.ops.quantized, self.packed[name], self.maxima[name]
        if add is not None:
            return cast(Tensor, run.conv2d_add_relu(x, add, packed, highest / HIGHEST_UNSIGNED, 0))
        if rectify:
            return cast(Tensor, run.conv2d_relu(x, packed, highest / HIGHEST_UNSIGNED, 0))
        return cast(Tensor, run.conv2d(x, packed, highest / HIGHEST_SIGNED, ZERO_OF_SIGNED))

    def join(self, one: Tensor, other: Tensor) -> Tensor:
        scale = max(one.q_scale(), other.q_scale())
        return cast(Tensor, torch.ops.quantized.cat([one, other], 1, scale, 0))


class Int8OpacityUnet(nn.Module):
    """Takes the place of :func:`lungct.networks.opacity_unet` where only inference is wanted."""

    def __init__(self, state: State, maxima: Mapping[str, float]) -> None:
        """Round the weights.

        Args:
            state: of :func:`lungct.networks.opacity_unet`, float32.
            maxima: see :func:`activation_maxima`.

        Raises:
            KeyError: weights or maxima of a layer are missing.
        """
        super().__init__()
        self.layers = _Quantized(state, maxima)
        self.head = nn.Conv2d(state[f"{HEAD}.weight"].shape[1], 1, 3, padding=1)
        self.head.load_state_dict({name: state[f"{HEAD}.{name}"] for name in ("weight", "bias")})

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[batch, 1, 320, 320]`` of ``[batch, 3, 320, 320]`` in (0, 1), all channels equal."""
        grey = images[:, :1].contiguous(memory_format=torch.channels_last)
        rounded = torch.quantize_per_tensor(grey, 1 / HIGHEST_UNSIGNED, 0, torch.quint8)
        return cast(Tensor, self.head(self.layers.walk(rounded).dequantize()))


@torch.inference_mode()
def activation_maxima(state: State, batches: Iterable[Tensor]) -> dict[str, float]:
    """What the scale of the activations is made from: the largest magnitude behind every convolution.

    Args:
        state: of :func:`lungct.networks.opacity_unet`, float32.
        batches: images ``[batch, 1, 320, 320]`` in (0, 1) like those that the network will see.
    """
    observed = _Observed(state)
    for images in batches:
        observed.walk(images)
    return {name: round(highest, 3) for name, highest in observed.maxima.items()}


def _folded(state: State) -> dict[str, _Convolution]:
    """All convolutions but the head's, by name; the first for one channel in place of three equal ones."""
    names = [key.removesuffix(".weight") for key, value in state.items() if value.ndim == len("OIHW")]
    return {name: _folded_convolution(state, name) for name in names if name != HEAD}


def _folded_convolution(state: State, name: str) -> _Convolution:
    behind = _normalisation_behind(name)
    mean, variance = (state[f"{behind}.running_{what}"] for what in ("mean", "var"))
    gain, shift = state[f"{behind}.weight"], state[f"{behind}.bias"]
    weight, bias = fuse_conv_bn_weights(
        nn.Parameter(state[f"{name}.weight"], requires_grad=False), None, mean, variance, EPSILON, gain, shift
    )
    if name == "encoder.conv1":
        weight = nn.Parameter(weight.sum(1, keepdim=True), requires_grad=False)
    return _Convolution(weight, bias, stride=2 if HALVES.search(name) else 1)


def _normalisation_behind(convolution: str) -> str:
    """Names as torchvision and segmentation-models-pytorch give them: conv1, bn1; conv1.0, conv1.1."""
    if convolution.endswith(".0"):
        return convolution.removesuffix("0") + "1"
    head, _, last = convolution.rpartition(".")
    return f"{head}.{last.replace('conv', 'bn')}"


def _packed(convolution: _Convolution) -> Any:
    scales = convolution.weight.abs().amax((1, 2, 3)).clamp_min(torch.finfo(torch.float32).tiny)
    scales = scales.double() / HIGHEST_WEIGHT
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the pinned torch warns of a later one (ADR 0027)
        rounded = torch.quantize_per_channel(convolution.weight, scales, zeros, 0, torch.qint8)
    stride, padding = [convolution.stride] * 2, [convolution.padding] * 2
    return torch.ops.quantized.conv2d_prepack(rounded, convolution.bias, stride, padding, [1, 1], 1)
