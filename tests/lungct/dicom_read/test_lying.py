"""Chests whose pixels are turned against what their header says."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from lungct.dicom_read import choose_series, read_chest, scan_folder
from lungct.dicom_read.lying import DOUBT, flag_orientation
from lungct.records import CtVolume, HuArray
from lungct.records.orientation import canonical_volume
from lungct_research.datasets.ct_files import read_ct
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.thorax import make_thorax

SPACING_MM = (4.0, 2.8, 2.8)
TURNS = [turn for turn in product((False, True), repeat=3) if any(turn)]
REAL_STUDIES = ("cap-cap001", "covid-P001", "normal-normal001")
PRONE, MIRRORED, FEET_FIRST = (False, True, True), (False, False, True), (True, False, False)


@pytest.fixture(scope="module", params=[1, 3])
def phantom(request: pytest.FixtureRequest) -> CtVolume:
    return canonical_volume(
        make_thorax(request.param, SPACING_MM, disease=Disease.COVID19).volume_hu, SPACING_MM
    )


@pytest.fixture(scope="module", params=REAL_STUDIES)
def real_study(request: pytest.FixtureRequest, real_ct: Path) -> CtVolume:
    return read_chest(choose_series(scan_folder(real_ct / "dicom" / request.param))).volume


def _turned(volume: CtVolume, turn: tuple[bool, ...]) -> CtVolume:
    axes = [axis for axis, is_turned in enumerate(turn) if is_turned]
    turned: HuArray = np.ascontiguousarray(np.flip(volume.volume_hu, axes))
    return CtVolume(turned, volume.affine_lps)


def test_chest_that_lies_as_its_header_says_is_not_flagged(phantom: CtVolume) -> None:
    assert flag_orientation(phantom) == ()


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.fault("chest", "Pixels turned over", "flag `ORIENTATION_DOUBTFUL`")
def test_flag_says_how_a_phantom_was_turned(phantom: CtVolume, turn: tuple[bool, ...]) -> None:
    (flag,) = flag_orientation(_turned(phantom, turn))
    assert flag.code == "ORIENTATION_DOUBTFUL"
    assert [what in flag.message for what in DOUBT] == list(turn)


def test_chest_without_the_left_lung_is_not_flagged(phantom: CtVolume) -> None:
    volume_hu = np.array(phantom.volume_hu)
    left = volume_hu[:, :, volume_hu.shape[2] // 2 :]
    left[(left < -300) & (left > -950)] = 40
    assert flag_orientation(CtVolume(volume_hu, phantom.affine_lps)) == ()


def test_volume_without_lungs_is_not_judged() -> None:
    volume_hu = np.full((40, 60, 60), -1000, np.int16)
    volume_hu[:, 10:50, 10:50] = 40
    assert flag_orientation(canonical_volume(volume_hu, SPACING_MM)) == ()


@pytest.mark.parametrize("turn", [PRONE, MIRRORED, FEET_FIRST], ids=["prone", "mirrored", "feet first"])
def test_turned_real_study_is_flagged(real_study: CtVolume, turn: tuple[bool, ...]) -> None:
    (flag,) = flag_orientation(_turned(real_study, turn))
    assert [what in flag.message for what in DOUBT] == list(turn)


def test_real_study_is_not_flagged(real_study: CtVolume) -> None:
    assert "ORIENTATION_DOUBTFUL" not in {flag.code for flag in real_study.flags}


@pytest.mark.parametrize("folder", ["no_infection", "more_chests"])
def test_real_chests_of_other_sources_are_not_flagged(real_ct: Path, folder: str) -> None:
    chests = sorted((real_ct / folder).glob("*.nii.gz"))
    flagged = [chest.name for chest in chests if flag_orientation(read_ct(chest)[0])]
    assert chests
    assert flagged == []
