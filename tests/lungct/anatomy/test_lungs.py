"""From the network's coarse probabilities to lobes at full resolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lungct.anatomy import lung_rules, lungs
from lungct.errors import NoLungError
from lungct.networks.inputs import window
from lungct.networks.lobe_unet import GRID_SPACING_MM, STRIDE, coarse_grid, pad_to_stride
from lungct.networks.weights import LoadedModel
from lungct.records import CtVolume, Lobe, ModelInfo

INFO = ModelInfo("lungs", "0", "0", provisional=True)


def one_hot(labels: np.ndarray) -> Tensor:
    """``[6, slices, rows, columns]``, nearly certain."""
    return functional.one_hot(torch.from_numpy(labels).long(), 6).movedim(-1, 0).float() * 0.94 + 0.01


class AirIsLung(nn.Module):
    """Calls dark voxels the left upper lobe where columns are high, the right upper lobe elsewhere.

    Of voxels as dark as pure air it is not certain.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0))

    def forward(self, grid: Tensor) -> Tensor:
        air = torch.where(grid[:, 0] < 0.2, 0.2, (0.5 - grid[:, 0]) * self.scale)
        left = torch.arange(grid.shape[-1]) >= 30
        silent = torch.full_like(air, -20.0)
        lobes = [silent] * 5
        lobes[Lobe.LEFT_UPPER.label - 1] = torch.where(left, air, silent)
        lobes[Lobe.RIGHT_UPPER.label - 1] = torch.where(left, silent, air)
        return torch.stack([-air, *lobes], dim=1)


def chest(lung_voxels: slice) -> CtVolume:
    """A block of tissue in air with two blocks of lung, 2.5 mm isotropic."""
    volume_hu = np.full((64, 48, 60), -1000, np.int16)
    volume_hu[:, 4:-4, 4:-4] = 40
    volume_hu[lung_voxels, 10:-10, 8:26] = -850
    volume_hu[lung_voxels, 10:-10, 34:52] = -850
    return CtVolume(volume_hu, np.diag([2.5, 2.5, 2.5, 1])[[2, 1, 0, 3]])


def model() -> LoadedModel:
    return LoadedModel(AirIsLung(), INFO, {})


def test_lobes_cover_the_lungs_exactly_and_no_air_outside() -> None:
    volume = chest(slice(6, -6))
    lobes = lungs.segment_lobes(volume, model()).lobes
    assert np.array_equal(lobes > 0, volume.volume_hu == -850)


def test_left_and_right_are_told_apart() -> None:
    lobes = lungs.segment_lobes(chest(slice(6, -6)), model()).lobes
    assert set(np.unique(lobes[..., :30])) == {0, Lobe.RIGHT_UPPER.label}
    assert set(np.unique(lobes[..., 30:])) == {0, Lobe.LEFT_UPPER.label}


def test_volume_without_lungs_is_refused() -> None:
    with pytest.raises(NoLungError, match="no lungs found"):
        lungs.segment_lobes(chest(slice(0, 0)), model())


def test_coarse_grid_averages_two_and_a_half_millimetres() -> None:
    volume_hu = torch.arange(16.0).reshape(4, 2, 2) * 10 - 600
    grid = coarse_grid(volume_hu, (1.25, 2.5, 2.5))
    assert grid.shape == (1, 1, 2, 2, 2)
    expected = window(volume_hu.reshape(2, 2, 2, 2).mean(dim=1))
    assert torch.allclose(grid[0, 0], expected)
    assert GRID_SPACING_MM == 2.5


def test_confidence_is_the_mean_probability_of_lobes_that_were_found() -> None:
    probabilities = torch.zeros(6, 1, 1, 4)
    probabilities[0, ..., :2] = 1.0
    probabilities[Lobe.LEFT_UPPER.label, ..., 2] = 0.9
    probabilities[Lobe.LEFT_UPPER.label, ..., 3] = 0.7
    assert lungs.lobe_confidence(probabilities) == {Lobe.LEFT_UPPER: pytest.approx(0.8)}


def test_padding_fills_up_to_the_stride_with_air_at_the_end() -> None:
    padded = pad_to_stride(torch.ones(1, 1, STRIDE, STRIDE + 1, 3))
    assert padded.shape == (1, 1, STRIDE, 2 * STRIDE, STRIDE)
    assert padded.sum() == STRIDE * (STRIDE + 1) * 3


def test_only_the_largest_piece_of_a_lobe_is_kept() -> None:
    labels = np.zeros((3, 3, 9), np.int64)
    labels[:, :, :4] = 2
    labels[:, :, 8] = 2
    winners = lung_rules.keep_largest_pieces(one_hot(labels)).argmax(dim=0).numpy()
    assert (winners[:, :, :4] == 2).all()
    assert (winners[:, :, 8] != 2).all()


def test_air_that_reaches_the_edge_is_no_lung_unless_the_network_is_certain() -> None:
    """A cropped field of view opens lungs of -900 HU to the edge."""
    grid = torch.ones(1, 1, 1, 5, 5)
    for place in (np.s_[:, 0], np.s_[2, 2], np.s_[:, 4]):
        grid[0, 0, 0][place] = window(torch.tensor(-900.0))
    probabilities = torch.full((6, 1, 5, 5), 0.5)
    probabilities[0, 0, :, 4] = 0.05
    cleared = lung_rules.without_outside_air(probabilities, grid)
    assert (cleared[1, 0, :, 0] == 0).all()
    assert cleared[1, 0, 2, 2] == 0.5
    assert (cleared[1, 0, :, 4] == 0.5).all()


def test_empty_air_at_the_edge_is_no_lung_however_certain_the_network() -> None:
    grid = window(torch.full((1, 1, 1, 3, 3), -1000.0))
    certain = torch.full((6, 1, 3, 3), 0.2)
    certain[0] = 0.0
    assert not lung_rules.without_outside_air(certain, grid)[1:].any()


@pytest.mark.parametrize(("certainty", "is_lung"), [(0.5, False), (0.95, True)])
def test_empty_air_inside_is_lung_only_where_the_network_is_certain(certainty: float, is_lung: bool) -> None:
    """Gas in bowel against a bulla; both weigh nothing."""
    grid = window(torch.full((1, 1, 7, 7, 7), 40.0))
    grid[0, 0, 2:5, 2:5, 2:5] = window(torch.tensor(-1000.0))
    probabilities = torch.zeros(6, 7, 7, 7)
    probabilities[0] = 1.0
    probabilities[0, 1:6, 1:6, 1:6] = 1.0 - certainty
    probabilities[1, 1:6, 1:6, 1:6] = certainty
    cleared = lung_rules.without_doubtful_gas(probabilities, grid)
    assert bool(cleared[1, 3, 3].any()) is is_lung
    assert torch.allclose(cleared.sum(dim=0), torch.tensor(1.0))


def test_aerated_lung_that_the_network_doubts_is_kept() -> None:
    grid = window(torch.full((1, 1, 3, 3, 3), -850.0))
    doubted = torch.full((6, 3, 3, 3), 0.1)
    doubted[0] = 0.5
    assert torch.equal(lung_rules.without_doubtful_gas(doubted, grid), doubted)


def test_certain_lung_beside_gas_is_kept() -> None:
    grid = window(torch.full((1, 1, 1, 1, 6), -850.0))
    grid[..., :3] = window(torch.tensor(-1000.0))
    probabilities = torch.zeros(6, 1, 1, 6)
    probabilities[1] = torch.tensor([0.5, 0.5, 0.5, 0.55, 0.9, 0.9])
    probabilities[0] = 1.0 - probabilities[1]
    cleared = lung_rules.without_doubtful_gas(probabilities, grid)
    assert torch.equal(cleared[1].ravel() > 0, torch.tensor([False, False, False, False, True, True]))


@pytest.mark.parametrize(
    ("hu", "certainty", "is_lung"), [(-100, 0.6, False), (-100, 0.9, True), (30, 0.6, True)]
)
def test_bulky_fat_is_lung_only_where_the_network_is_certain(
    hu: int, certainty: float, is_lung: bool
) -> None:
    """Fat behind the liver against an opacity, and against tissue, of which fat rules say nothing."""
    grid = window(torch.full((1, 1, 14, 14, 14), float(hu)))
    probabilities = torch.zeros(6, 14, 14, 14)
    probabilities[1, 2:12, 2:12, 2:12] = certainty
    probabilities[0] = 1.0 - probabilities[1]
    cleared = lung_rules.without_doubtful_fat(probabilities, grid)
    assert bool(cleared[1, 6:8, 6:8, 6:8].any()) is is_lung
    assert torch.allclose(cleared.sum(dim=0), torch.tensor(1.0))


def test_likely_lung_in_a_dent_becomes_certain_and_keeps_its_lobe() -> None:
    grid = window(torch.full((1, 1, 20, 20, 20), 40.0))
    probabilities = torch.zeros(6, 20, 20, 20)
    probabilities[1, 2:18, 2:18, 2:18] = 0.9
    dent = (slice(8, 12), slice(8, 12), slice(2, 6))
    probabilities[1][dent], probabilities[2][dent] = 0.3, 0.15
    beside = (slice(8, 12), slice(8, 12), slice(0, 2))
    probabilities[1][beside] = 0.55
    probabilities[0] = 1.0 - probabilities[1:].sum(dim=0)
    filled = lung_rules.with_dents_filled(probabilities, grid)
    assert torch.allclose(filled[1, 8:12, 8:12, 4:6], torch.tensor(2 / 3))
    assert torch.allclose(filled.sum(dim=0), torch.tensor(1.0))
    assert torch.equal(filled[1][beside], probabilities[1][beside])


def test_unlikely_lung_in_a_dent_is_left_out() -> None:
    grid = window(torch.full((1, 1, 20, 20, 20), 40.0))
    probabilities = torch.zeros(6, 20, 20, 20)
    probabilities[1, 2:18, 2:18, 2:18] = 0.9
    probabilities[1, 8:12, 8:12, 2:6] = 0.25
    probabilities[0] = 1.0 - probabilities[1]
    assert torch.equal(lung_rules.with_dents_filled(probabilities, grid), probabilities)


def test_solid_body_without_air_has_no_lungs() -> None:
    """The network completes lungs by their shape, so dense voxels alone prove nothing."""

    class SeesLungEverywhere(AirIsLung):
        def forward(self, grid: Tensor) -> Tensor:
            logits = torch.zeros(1, 6, *grid.shape[2:])
            logits[:, Lobe.LEFT_UPPER.label] = self.scale
            return logits

    with pytest.raises(NoLungError, match="only 0 mL with air"):
        lungs.segment_lobes(chest(slice(0, 0)), LoadedModel(SeesLungEverywhere(), INFO, {}))
