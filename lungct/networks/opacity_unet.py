"""The slice-wise opacity segmenter: a U-Net on a ResNet-34 (Topff et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from lungct.networks.inputs import as_tensor, segmenter_input
from lungct.networks.int8_unet import ENGINE, Int8OpacityUnet
from lungct.networks.weights import LoadedModel, VerifiedModel, build_model, loaded
from lungct.records import HuArray

Box = tuple[slice, slice]
EVERYWHERE: Box = (slice(None), slice(None))

BATCH_SLICES = 8
"""More slices at a time are no faster on a CPU."""


def opacity_unet() -> nn.Module:
    """An untrained network.

    Input ``[batch, 3, 320, 320]``: grey slices in three equal channels
    (:func:`lungct.networks.inputs.segmenter_input`). Output: logits ``[batch, 1, 320, 320]``.
    """
    _make_torchvision_importable()
    import segmentation_models_pytorch as smp

    network: nn.Module = smp.Unet("resnet34", encoder_weights=None)
    return network


def build_opacity_model(verified: VerifiedModel, device: torch.device) -> LoadedModel:
    """Return the network in integers on a CPU where ``model.json`` knows its activations, otherwise in float.

    Raises:
        ModelError: the weights are of another architecture.
    """
    maxima = verified.activation_maxima
    if device.type == "cpu" and maxima and ENGINE in torch.backends.quantized.supported_engines:
        return loaded(verified, lambda state: Int8OpacityUnet(state, maxima))
    return build_model(verified, opacity_unet, device)


@torch.inference_mode()
def opacity_probability(slices_hu: HuArray, network: nn.Module, seen: Box = EVERYWHERE) -> Tensor:
    """Return the probability of opacity on the slices' own grid.

    Args:
        slices_hu: ``[slices, rows, columns]``, axes S, P, L.
        network: takes three equal channels.
        seen: rows and columns, of 320, that the network looks at; elsewhere the probability is 0.

    Returns:
        ``[slices, rows, columns]`` in (0, 1), on the network's device.
    """
    images = segmenter_input(as_tensor(slices_hu).to(next(network.parameters()).device))
    shown = images[..., *seen].expand(-1, 3, -1, -1)
    probability = torch.zeros_like(images)
    probability[..., *seen] = network(shown.contiguous(memory_format=torch.channels_last)).sigmoid()
    return functional.interpolate(probability, slices_hu.shape[1:], mode="bilinear", align_corners=False)[
        :, 0
    ]


def opacity_probabilities(
    volume_hu: HuArray, slices: npt.NDArray[np.intp], network: nn.Module, seen: Box
) -> Iterator[tuple[npt.NDArray[np.intp], Tensor]]:
    """Yield some slices after the other and their :func:`opacity_probability`; fewer where memory is short.

    Args:
        volume_hu: ``[slices, rows, columns]``, axes S, P, L.
        slices: indices of the slices that are looked at.
        network: see :func:`build_opacity_model`.
        seen: see :func:`opacity_probability`.
    """
    n_at_once = BATCH_SLICES
    while slices.size:
        batch = slices[:n_at_once]
        try:
            probability = opacity_probability(volume_hu[batch], network, seen)
        except torch.OutOfMemoryError:
            if n_at_once == 1:
                raise
            n_at_once //= 2
            continue
        yield batch, probability
        slices = slices[n_at_once:]


def _make_torchvision_importable() -> None:
    """Let torchvision import beside a CPU-only torch.

    The torchvision wheels of PyPI hold operators linked against the CUDA torch. Beside a CPU-only torch these
    cannot load, and the import itself fails over two undeclared operators that nothing here uses; declaring
    them is enough, since the ResNet blocks are plain Python.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared_operators.append(library)


_declared_operators: list[torch.library.Library] = []
"""torch drops a declaration together with its library object, so they are kept."""
