"""Array axes against patient axes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lungct.records import CtVolume, Float64Array
from lungct.records.orientation import from_canonical, to_canonical

SHAPE = (3, 4, 5)


@st.composite
def affines(draw: st.DrawFn) -> Float64Array:
    """Any axis order, any direction, tilted by up to 20 degrees."""
    axes = draw(st.permutations(range(3)))
    signs = draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    spacing_mm = draw(st.tuples(*[st.floats(0.3, 5)] * 3))
    tilt = Rotation.from_euler("xyz", draw(st.tuples(*[st.floats(-20, 20)] * 3)), degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = tilt @ (np.eye(3)[:, axes] * signs * spacing_mm)
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return affine


def numbered(affine_lps: Float64Array) -> CtVolume:
    return CtVolume(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), affine_lps)


@given(affines())
def test_canonical_slices_go_up_rows_back_and_columns_left(affine_lps: Float64Array) -> None:
    directions = to_canonical(numbered(affine_lps)).affine_lps[:3, :3]
    assert np.abs(directions).argmax(axis=0).tolist() == [2, 1, 0]
    assert (directions[[2, 1, 0], [0, 1, 2]] > 0).all()


@given(affines())
def test_canonical_voxels_stay_where_they_are_in_the_patient(affine_lps: Float64Array) -> None:
    source = numbered(affine_lps)
    canonical = to_canonical(source)
    for index in np.ndindex(canonical.volume_hu.shape):
        place = canonical.affine_lps @ (*index, 1)
        source_index = np.rint(np.linalg.solve(affine_lps, place)[:3]).astype(int)
        assert source.volume_hu[tuple(source_index)] == canonical.volume_hu[index]


@given(affines())
def test_going_back_from_canonical_restores_the_array(affine_lps: Float64Array) -> None:
    source = numbered(affine_lps)
    back = from_canonical(to_canonical(source).volume_hu, source)
    assert np.array_equal(back, source.volume_hu)


@given(affines())
def test_canonical_volume_keeps_voxel_size(affine_lps: Float64Array) -> None:
    source = numbered(affine_lps)
    assert np.isclose(to_canonical(source).voxel_ml, source.voxel_ml)
    assert np.allclose(sorted(to_canonical(source).spacing_mm), sorted(source.spacing_mm))
