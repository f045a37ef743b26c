"""Opacities are thresholded inside the lobes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from lungct.findings.opacities import mark_opacities, segment_opacities
from lungct.networks.weights import LoadedModel
from lungct.records import CtVolume, LungAnatomy, ModelInfo

INFO = ModelInfo("opacity", "0", "0", provisional=True)


class BrightIsOpaque(nn.Module):
    """Probability 0.6 where the picture is brighter than half."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(0.4055))
        self.n_slices = 0

    def forward(self, images: Tensor) -> Tensor:
        self.n_slices += images.shape[0]
        return torch.where(images[:, :1] > 0.5, self.logit, -5.0)


def chest() -> tuple[CtVolume, LungAnatomy]:
    volume_hu = np.full((12, 320, 320), -850, np.int16)
    volume_hu[:, 100:130, 100:130] = 0
    volume_hu[:, 250:280, 250:280] = 0
    volume_hu[5, 60, 60] = 0
    lobes = np.zeros(volume_hu.shape, np.uint8)
    lobes[2:9, 40:200, 40:200] = 1
    return CtVolume(volume_hu, np.diag([2, 1, 1, 1.0])[[2, 1, 0, 3]]), LungAnatomy(lobes, INFO)


def found(threshold: float) -> tuple[np.ndarray, BrightIsOpaque]:
    network = BrightIsOpaque()
    volume, anatomy = chest()
    return segment_opacities(
        volume, anatomy, LoadedModel(network, INFO, {"threshold": threshold})
    ).mask, network


def test_opacities_lie_inside_the_lobes_only() -> None:
    mask, _ = found(threshold=0.5)
    assert mask[2:9, 102:128, 102:128].all()
    assert mask[:, 250:280, 250:280].sum() == 0
    assert mask[[0, 1, 9, 10, 11]].sum() == 0


def test_threshold_of_the_model_decides() -> None:
    assert found(threshold=0.7)[0].sum() == 0


def test_specks_are_dropped() -> None:
    mask, _ = found(threshold=0.5)
    assert mask[5, 60, 60] == 0


def test_only_slices_with_lung_are_looked_at() -> None:
    _, network = found(threshold=0.5)
    assert network.n_slices == 7


class SmallGpu(BrightIsOpaque):
    """Has memory for three slices."""

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > 3:
            raise torch.OutOfMemoryError
        return super().forward(images)


def test_fewer_slices_at_once_where_memory_is_short() -> None:
    volume, anatomy = chest()
    network = SmallGpu()
    mask = segment_opacities(volume, anatomy, LoadedModel(network, INFO, {"threshold": 0.5})).mask
    assert np.array_equal(mask, found(threshold=0.5)[0])
    assert network.n_slices == 7


def lung_slice(hu: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probability 0.8 in one half of a slice of a density; the other half is consolidated, at 0.2."""
    slices_hu, probability = np.full((1, 40, 40), hu), np.full((1, 40, 40), 0.8, np.float32)
    slices_hu[..., 20:], probability[..., 20:] = 0, 0.2
    return probability, slices_hu, np.ones((1, 40, 40), bool)


def test_normally_aerated_lung_is_no_opacity() -> None:
    probability, slices_hu, lungs = lung_slice(hu=-850)
    assert not mark_opacities(torch.from_numpy(probability), slices_hu, lungs, 0.5, 1.0)[..., :18].any()


def test_consolidation_belongs_to_the_opacity_that_it_touches() -> None:
    probability, slices_hu, lungs = lung_slice(hu=-600)
    assert mark_opacities(torch.from_numpy(probability), slices_hu, lungs, 0.5, 1.0).all()


def test_consolidation_apart_from_any_opacity_is_left_to_the_network() -> None:
    probability, slices_hu, lungs = lung_slice(hu=-600)
    slices_hu[..., 18:24] = -850
    assert not mark_opacities(torch.from_numpy(probability), slices_hu, lungs, 0.5, 1.0)[..., 24:].any()


def test_dense_tissue_that_the_network_rules_out_is_no_opacity() -> None:
    probability, slices_hu, lungs = lung_slice(hu=-600)
    probability[..., 20:] = 0.01
    assert not mark_opacities(torch.from_numpy(probability), slices_hu, lungs, 0.5, 1.0)[..., 20:].any()


def test_nothing_outside_the_lungs_is_marked() -> None:
    probability, slices_hu, lungs = lung_slice(hu=-600)
    lungs[..., 10:] = False
    assert not mark_opacities(torch.from_numpy(probability), slices_hu, lungs, 0.5, 1.0)[..., 10:].any()


def test_what_is_thin_on_a_slice_is_partial_volume() -> None:
    slices_hu, lungs = np.full((1, 40, 40), -600.0), np.ones((1, 40, 40), bool)
    probability = np.zeros((1, 40, 40), np.float32)
    probability[:, 10:12], probability[:, 20:30, 20:30] = 0.8, 0.8
    found = mark_opacities(torch.from_numpy(probability), slices_hu, lungs, 0.5, pixel_mm=1.0)
    assert not found[:, 10:12].any()
    assert found[:, 20:30, 20:30].all()
