"""The slice-wise opacity segmenter: a U-Net on a ResNet-34 (Topff et al. 2023)."""

from __future__ import annotations

import torch
from torch import nn


def opacity_unet() -> nn.Module:
    """An untrained network.

    Input ``[batch, 3, 320, 320]``: grey slices in three equal channels
    (:func:`lungct.networks.inputs.segmenter_input`). Output: logits ``[batch, 1, 320, 320]``.
    """
    _make_torchvision_importable()
    import segmentation_models_pytorch as smp

    network: nn.Module = smp.Unet("resnet34", encoder_weights=None)
    return network


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
