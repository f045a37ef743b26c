"""Weights between those that training began with and those it ended with: ``python -m training.blend``.

Fine-tuned weights fit the training images better and all else worse; on the straight line between start and
end both hold (WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903). The share is chosen on validation chests.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

from lungct.inference.weights import load_model
from lungct.networks import LobeUNet
from training.cards import LUNGS, save_with_card


def blended(start: nn.Module, end: nn.Module, share: float) -> nn.Module:
    """``end`` with weights that are ``share`` of its own and the rest of those of ``start``; in place."""
    begin = start.state_dict()
    end.load_state_dict(
        {key: torch.lerp(begin[key], value, share) for key, value in end.state_dict().items()}
    )
    return end


def main() -> None:
    """Write the blended model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("start", type=Path, help="model folder that --from named")
    parser.add_argument("end", type=Path, help="model folder that training wrote")
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, required=True, help="of the trained weights, 0 to 1")
    arguments = parser.parse_args()
    start, end = (
        load_model(folder.parent, folder.name, LobeUNet, torch.device("cpu")).network
        for folder in (arguments.start, arguments.end)
    )
    save_with_card(arguments.out, LUNGS, blended(start, end, arguments.share), {})


if __name__ == "__main__":
    main()
