"""What the networks see."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lungct.networks.inputs import (
    BCET_MEAN,
    CLASSIFIER_SHAPE,
    SEGMENTER_SHAPE,
    bcet,
    classifier_input,
    segmenter_input,
    window,
)

HU = hnp.arrays(np.float32, (2, 4, 4), elements=st.floats(-2000, 3000, width=32))


@pytest.mark.parametrize(
    ("hu", "expected"), [(-3000, 0.0), (-1250, 0.0), (-500, 0.5), (250, 1.0), (3000, 1.0)]
)
def test_window_maps_level_500_width_1500_to_zero_one(hu: float, expected: float) -> None:
    assert window(torch.tensor([hu])).item() == pytest.approx(expected)


@given(HU)
def test_window_keeps_the_order_of_grey_values(volume_hu: np.ndarray) -> None:
    flat = torch.from_numpy(np.sort(volume_hu.ravel()))
    assert (window(flat).diff() >= 0).all()


def test_classifier_input_has_the_papers_size_and_is_zero_outside_the_lungs() -> None:
    volume_hu = torch.zeros(10, 32, 32)
    lungs = torch.zeros(10, 32, 32)
    lungs[:, :, :16] = 3
    image = classifier_input(volume_hu, lungs)
    assert image.shape == (1, 1, *CLASSIFIER_SHAPE)
    assert image[..., :109].min() > 0.8
    assert image[..., 115:].abs().max() == 0


def test_segmenter_input_has_the_papers_size_and_range() -> None:
    slices_hu = torch.from_numpy(np.random.default_rng(0).normal(-600, 300, (3, 64, 48)))
    images = segmenter_input(slices_hu)
    assert images.shape == (3, 1, *SEGMENTER_SHAPE)
    assert images.min() >= 0
    assert images.max() <= 1


def test_bcet_sets_minimum_maximum_and_mean() -> None:
    images = torch.from_numpy(np.random.default_rng(0).beta(2, 4, (3, 1, 32, 32)))
    balanced = bcet(images)
    for image in balanced:
        assert image.min().item() == pytest.approx(0, abs=1e-9)
        assert image.max().item() == pytest.approx(1, abs=1e-9)
        assert image.mean().item() == pytest.approx(BCET_MEAN, abs=1e-9)


def test_bcet_of_guos_parabola_is_exact() -> None:
    """Of an image 0, 1/2, 1 with the wanted mean 5/12 the parabola is y = x^2: 0, 1/4, 1."""
    images = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64).reshape(1, 1, 1, 3)
    assert bcet(images, mean=5 / 12).flatten().tolist() == pytest.approx([0, 0.25, 1])


@given(hnp.arrays(np.float64, (1, 1, 4, 4), elements=st.floats(0, 1, width=16)))
def test_bcet_never_swaps_grey_values(images: np.ndarray) -> None:
    balanced = bcet(torch.from_numpy(images)).flatten()
    ordered = balanced[torch.from_numpy(images.ravel()).argsort()]
    assert (ordered.diff() >= -1e-6).all()


def test_bcet_leaves_a_constant_image_finite() -> None:
    assert torch.equal(bcet(torch.full((1, 1, 4, 4), 0.3)), torch.zeros(1, 1, 4, 4))


@pytest.mark.parametrize("offset", [0.0, 1e-7, 1e-6, 1e-4])
def test_bcet_is_exact_where_the_mean_is_right_already(offset: float) -> None:
    """The parabola is all but a line there, its turning point far away."""
    ramp = torch.linspace(0, 1, 4096, dtype=torch.float64).reshape(1, 1, 64, 64)
    image = ramp ** (1 / BCET_MEAN - 1 + offset)
    assert torch.allclose(bcet(image.float()).double(), bcet(image), atol=2e-3)


def test_bcet_treats_every_image_by_itself() -> None:
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0)) ** 2
    assert torch.allclose(bcet(images)[2:3], bcet(images[2:3]))
