"""Records are frozen all the way down."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from lungct.records import BronchovascularTree, CtVolume, LungAnatomy, ModelInfo, Opacities

MODEL = ModelInfo("toy", "1.0", "0" * 64, provisional=True)
MASK = np.zeros((2, 3, 4), np.uint8)
VOLUME = CtVolume(np.zeros((2, 3, 4), np.int16), np.eye(4))


@pytest.mark.parametrize(
    "array",
    [
        VOLUME.volume_hu,
        VOLUME.affine_lps,
        VOLUME.with_flags().volume_hu,
        LungAnatomy(MASK, MODEL).lobes,
        Opacities(MASK, MODEL).mask,
        BronchovascularTree(MASK, MASK).airways,
        BronchovascularTree(MASK, MASK).vessels,
    ],
)
def test_arrays_of_records_cannot_be_written(array: npt.NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match="read-only"):
        array[...] = 1


def test_owner_of_an_array_may_still_write_it() -> None:
    mask = MASK.copy()
    Opacities(mask, MODEL)
    mask[0] = 1
    assert mask.any()
