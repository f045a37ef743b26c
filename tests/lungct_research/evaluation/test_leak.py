"""What is called lung and is solid and far from air, with the diaphragm as it is and raised."""

from __future__ import annotations

import numpy as np
import pytest

from lungct.errors import NoLungError
from lungct.records import CtVolume, Lobe, MaskArray
from lungct.records.orientation import canonical_volume
from lungct_research.evaluation.leak import describe, measure_leak

SPACING_MM = (2.5, 2.5, 2.5)


@pytest.fixture
def chest() -> CtVolume:
    """Two lungs of 150 mm height above 75 mm of abdomen."""
    hu = np.full((96, 60, 90), 40, np.float32)
    hu[30:90, 16:44, 10:38] = -850
    hu[30:90, 16:44, 52:80] = -850
    return canonical_volume(hu, SPACING_MM)


def air_only(volume: CtVolume) -> MaskArray:
    return (volume.volume_hu < -500).astype(np.uint8) * Lobe.RIGHT_LOWER.label


def down_to_the_old_base(volume: CtVolume) -> MaskArray:
    """Lobes of a network that expects the lungs to reach as deep as they always do."""
    lobes = air_only(volume)
    lobes[30:60, 16:44, 10:38] = Lobe.RIGHT_LOWER.label
    return lobes


def test_no_leak_where_only_air_is_called_lung(chest: CtVolume) -> None:
    assert all(leak.total_ml == 0 for leak in measure_leak("a", chest, air_only, (50.0,)))


def test_leak_appears_with_the_rise_of_its_side_only(chest: CtVolume) -> None:
    as_it_is, left, right = measure_leak("a", chest, down_to_the_old_base, (50.0,))
    assert (as_it_is.total_ml, left.total_ml) == (0, 0)
    assert right.lobe_ml[Lobe.RIGHT_LOWER] == pytest.approx((50 - 12) * 70 * 70 / 1000, rel=0.2)
    assert "50" in describe(right)


def test_chest_in_which_no_lungs_are_found_has_no_leak(chest: CtVolume) -> None:
    def refuse(_: CtVolume) -> MaskArray:
        raise NoLungError("no lungs found")

    assert next(measure_leak("a", chest, refuse)).total_ml == 0
