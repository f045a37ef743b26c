"""Boxes, slabs and interpolation of a coarse grid over a volume."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from lungct.anatomy.full_resolution import SLAB_SLICES, box_around, interpolated, slabs

SIZES = st.tuples(*[st.integers(1, 9)] * 3)


@given(coarse_shape=SIZES, shape=st.tuples(*[st.integers(9, 40)] * 3), data=st.data())
@settings(max_examples=30, deadline=None)
def test_box_holds_everything_that_interpolation_reaches(
    coarse_shape: tuple[int, int, int], shape: tuple[int, int, int], data: st.DataObject
) -> None:
    mask = torch.zeros(coarse_shape, dtype=torch.bool)
    mask[tuple(data.draw(st.integers(0, n - 1)) for n in coarse_shape)] = True
    reached = functional.interpolate(mask.float()[None, None], shape, mode="trilinear")[0, 0] > 0
    box = box_around(mask, shape)
    assert reached.sum() == reached[box].sum()


def test_slabs_are_a_trilinear_interpolation_of_the_box() -> None:
    coarse = torch.rand(5, 4, 3, generator=torch.Generator().manual_seed(0))
    shape = (2 * SLAB_SLICES + 5, 11, 8)
    box = (slice(2, 2 * SLAB_SLICES + 3), slice(1, 9), slice(3, 8))
    whole = functional.interpolate(coarse[None, None], shape, mode="trilinear", align_corners=False)[0, 0]
    found = torch.cat([interpolated(coarse, shape, part) for part in slabs(box)])
    assert torch.allclose(found, whole[box], atol=1e-6)


def test_masks_are_interpolated_too() -> None:
    mask = torch.tensor([False, True]).reshape(2, 1, 1)
    shares = interpolated(mask, (4, 1, 1), (slice(0, 4), slice(0, 1), slice(0, 1)))
    assert shares.ravel().tolist() == [0.0, 0.25, 0.75, 1.0]
