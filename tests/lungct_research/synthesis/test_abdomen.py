"""Organs are painted below the lungs and nowhere else."""

from __future__ import annotations

import torch

from lungct_research.synthesis.abdomen import random_abdomen


def chest() -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.full((48, 40, 48), 0.85)
    labels = torch.zeros(image.shape, dtype=torch.uint8)
    labels[24:44, 6:34, 6:42] = 1
    image[labels > 0] = 0.27
    return image, labels


def test_organs_leave_lungs_and_whatever_is_not_below_them_alone() -> None:
    image, labels = chest()
    below = torch.zeros(image.shape, dtype=torch.bool)
    below[:23, 5:35, 5:43] = True
    for seed in range(20):
        painted = random_abdomen(image, labels, 2.5, torch.Generator().manual_seed(seed))
        assert torch.equal(painted[~below], image[~below])


def test_some_organs_hold_gas_and_some_are_denser_than_muscle() -> None:
    image, labels = chest()
    painted = torch.stack(
        [random_abdomen(image, labels, 2.5, torch.Generator().manual_seed(seed)) for seed in range(20)]
    )
    below = painted[:, :23]
    assert bool((below < 0.25).any())
    assert bool((below > 0.9).any())
