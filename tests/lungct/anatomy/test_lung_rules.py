"""What lies below the diaphragm is no lung; a lower lobe that an infection has filled is."""

from __future__ import annotations

import numpy as np
import torch

from lungct.anatomy.lung_rules import without_organs

AIR, TISSUE = 0.27, 0.86
"""Aerated lung and soft tissue in the lung window."""

ORGAN_BOX = (slice(6, 22), slice(10, 34), slice(8, 32))


def chest(certainty: float, surface: np.ndarray | float = 24.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A lung of 2.5 mm voxels whose part below a surface is solid; all of it has that probability of lung.

    Args:
        certainty: of the solid part.
        surface: its height in slices, for every row and column.
    """
    lung = np.zeros((60, 44, 40), bool)
    lung[4:54, 6:38, 4:36] = True
    solid = lung & (np.arange(60)[:, None, None] < surface)
    share = np.where(lung, 0.99, 0.01)
    share[solid] = certainty
    probabilities = np.zeros((6, *lung.shape), np.float32)
    probabilities[0], probabilities[5] = 1 - share, share
    grid = np.where(lung & ~solid, AIR, TISSUE).astype(np.float32)
    return torch.from_numpy(probabilities), torch.from_numpy(grid)[None, None]


def lung_left(probabilities: torch.Tensor, grid: torch.Tensor) -> float:
    """Mean probability of lung after the rule, deep in the solid part."""
    return float(1 - without_organs(probabilities, grid)[0][ORGAN_BOX].mean())


def test_liver_below_a_raised_diaphragm_is_no_lung() -> None:
    rows, columns = np.meshgrid(np.arange(44), np.arange(40), indexing="ij")
    dome = 26 - ((rows - 22) / 8) ** 2 - ((columns - 20) / 8) ** 2
    assert lung_left(*chest(0.85, dome)) < 0.05


def test_lobe_of_which_the_network_is_certain_stays() -> None:
    assert lung_left(*chest(0.97)) > 0.9


def test_solid_lower_lobe_below_its_fissure_stays() -> None:
    fissure = 12.0 + 0.8 * np.arange(44)[:, None] * np.ones(40)
    probabilities, grid = chest(0.85, fissure)
    assert torch.equal(without_organs(probabilities, grid), probabilities)


def test_mass_with_air_filled_lung_below_it_stays() -> None:
    probabilities, grid = chest(0.85)
    grid[0, 0, 4:10, 6:38, 4:36] = AIR
    assert torch.equal(without_organs(probabilities, grid), probabilities)


def test_air_filled_lung_is_left_alone() -> None:
    probabilities, grid = chest(0.85)
    cleared = without_organs(probabilities, grid)
    assert torch.equal(cleared[:, 28:], probabilities[:, 28:])
