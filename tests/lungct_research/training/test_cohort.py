"""The synthetic cohort: what a patient is, and what may not leak from one part of the split to another."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from lungct.networks.classifier3d import CLASSES
from lungct.networks.inputs import CLASSIFIER_SHAPE
from lungct_research.synthesis.lesions import Host, Kind, with_cavity
from lungct_research.training.cohort import INSTITUTIONS, make_institution, patient_example

REAL_CT = os.environ.get("LUNGCT_REAL_CT")
needs_real_ct = pytest.mark.skipif(REAL_CT is None, reason="LUNGCT_REAL_CT is not set")


def test_institutions_are_split_11_3_6_and_are_in_one_part_only() -> None:
    assert [len(numbers) for numbers in INSTITUTIONS.values()] == [11, 3, 6]
    assert not any(set(one) & set(other) for one, other in combinations(INSTITUTIONS.values(), 2))


def test_institutions_differ_and_stay_the_same() -> None:
    places = [make_institution(number) for number in range(20)]
    assert len({place.protocol for place in places}) == 20
    assert places == [make_institution(number) for number in range(20)]
    assert all(sum(place.prevalence) == pytest.approx(1) for place in places)


def _consolidated(radius: int) -> tuple[Host, np.ndarray]:
    """A ball of consolidation in a block of lung, voxels of 2 mm."""
    z, y, x = np.indices((30, 30, 30)) - 15
    kinds = np.where(z**2 + y**2 + x**2 < radius**2, Kind.CONSOLIDATION.label, 0).astype(np.uint8)
    volume_hu = np.where(kinds, 20, -850).astype(np.float32)
    return Host(volume_hu, np.ones(kinds.shape, np.uint8), kinds > 99, (2.0, 2.0, 2.0)), kinds


def test_a_cavity_holds_gas_and_leaves_a_wall() -> None:
    host, kinds = _consolidated(radius=10)
    gas = with_cavity(host, host.volume_hu, kinds, np.random.default_rng(1)) < -700
    inside = gas & (kinds > 0)
    assert inside.sum() > 50
    beside = np.roll(inside, 1, 0) | np.roll(inside, -1, 0) | np.roll(inside, 1, 1) | np.roll(inside, -1, 1)
    assert kinds[beside].all()


def test_a_thin_consolidation_gets_no_cavity() -> None:
    host, kinds = _consolidated(radius=2)
    assert with_cavity(host, host.volume_hu, kinds, np.random.default_rng(1)) is host.volume_hu


@needs_real_ct
def test_a_patient_is_the_same_for_the_same_number_and_seed() -> None:
    first, again, other = (patient_example(Path(str(REAL_CT)), "train", 3, seed) for seed in (1, 1, 2))
    assert first["volume"].shape == (1, *CLASSIFIER_SHAPE)
    assert int(first["label"][0]) in range(len(CLASSES))
    assert str(first["institution"][0]) == "institution-03"
    assert np.array_equal(first["volume"], again["volume"])
    assert not np.array_equal(first["volume"], other["volume"])
