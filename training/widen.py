"""Begin the lobe network with the weights of version 0.1.0: ``python -m training.widen OLD NEW``.

Version 0.1.0 saw the chest on a 5 mm grid with half as many channels. Every channel is doubled and what reads
it halved, so that the wider network says the same (Net2WiderNet, Chen et al. 2016, arXiv 1511.05641); of
the folded input it first sees the mean of each 5 mm voxel, and gives all parts of it the same answer. Noise
on the weights lets the twins part.

``OLD`` is a weights file of 0.1.0 from the history of ``models/lungs``, ``NEW`` a model folder for
``--from``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from lungct.networks.lobe_unet import FOLD, LobeUNet
from training.cards import LUNGS, save_with_card

NOISE = 0.1
"""Relative deviation of the weights. Own decision."""

FIRST, LAST = "conv_0.conv_0.conv.weight", "final_conv"
TRANSPOSED = "deconv"
N_PARTS = FOLD**3


def widened(old: dict[str, Tensor], noise: float = NOISE) -> LobeUNet:
    """The network that answers as the old one did, but for the noise.

    Args:
        old: state of a U-Net with half the channels, which takes and gives single voxels of 5 mm.
        noise: relative deviation on the weights.
    """
    network = LobeUNet()
    state = {f"unet.{key}": _wide(key, tensor.float()) for key, tensor in old.items()}
    for key, tensor in state.items():
        if tensor.ndim > 1:
            state[key] = tensor * (1 + noise * torch.randn_like(tensor))
    network.load_state_dict(state)
    return network


def _wide(key: str, tensor: Tensor) -> Tensor:
    """One tensor of the old network for the new one."""
    if key == FIRST:
        mean = (tensor / N_PARTS).repeat(1, N_PARTS, 1, 1, 1)
        return torch.cat([mean, torch.zeros_like(mean)], dim=1).repeat_interleave(2, 0)
    outs, ins = (1, 0) if TRANSPOSED in key and tensor.ndim > 1 else (0, 1)
    copies = N_PARTS if key.startswith(LAST) else 2
    tensor = tensor.repeat_interleave(copies, outs if tensor.ndim > 1 else 0)
    return tensor.repeat_interleave(2, ins) / 2 if tensor.ndim > 1 else tensor


def main() -> None:
    """Write the wider model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(1)
    save_with_card(arguments.new, LUNGS, widened(load_file(arguments.old)), {})


if __name__ == "__main__":
    main()
