"""What the shipped lobe network and the flags make of chests, and of what is none, that nobody trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lungct.anatomy.lungs import segment_lobes
from lungct.errors import NoLungError
from lungct.findings.quality import flag_airless_lobes, flag_confidence, flag_lung_volumes, flag_truncation
from lungct.findings.quantification import quantify
from lungct.networks import LobeUNet
from lungct.networks.weights import LoadedModel, load_model
from lungct.records import LEFT_LOBES, Lobe, LungAnatomy, Opacities
from lungct.records.orientation import canonical_volume
from lungct_research.evaluation.agreement import dice
from lungct_research.synthesis.phantom.thorax import Phantom, make_thorax
from tests.application_runs import MODELS

SPACING_MM = (2.5, 2.0, 2.0)

Volume = np.ndarray


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(MODELS, "lungs", LobeUNet, torch.device("cpu"))


@pytest.fixture(scope="module")
def thorax() -> Phantom:
    return make_thorax(900_003, SPACING_MM)


def found(volume_hu: Volume, model: LoadedModel, spacing_mm: tuple[float, ...] = SPACING_MM) -> LungAnatomy:
    return segment_lobes(canonical_volume(volume_hu.astype(np.int16), spacing_mm), model)


def flags(anatomy: LungAnatomy, volume_hu: Volume) -> set[str]:
    volume = canonical_volume(volume_hu.astype(np.int16), SPACING_MM)
    nothing = Opacities(np.zeros_like(anatomy.lobes), anatomy.model)
    quantification = quantify(anatomy, nothing, volume.voxel_ml)
    raised = [
        *flag_lung_volumes(quantification),
        *flag_airless_lobes(anatomy, volume),
        *flag_confidence(anatomy),
        *flag_truncation(anatomy, volume),
    ]
    return {flag.code for flag in raised}


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius_mm: float) -> Volume:
    places = np.indices(shape).transpose(1, 2, 3, 0)
    return ((places - np.multiply(shape, centre)) * SPACING_MM) ** 2 @ np.ones(3) < radius_mm**2


def with_contrast(thorax: Phantom) -> Volume:
    hu = thorax.volume_hu.copy()
    hu[thorax.vessels > 0] += 300
    hu[ball(hu.shape, (0.5, 0.42, 0.52), 35.0)] += 250
    return hu


def with_metal(thorax: Phantom) -> Volume:
    """A spine screw whose beam hardening streaks the slices around it."""
    hu = thorax.volume_hu.astype(np.float32)
    angle = np.arctan2(*(np.indices(hu.shape[1:]) - np.multiply(hu.shape[1:], (0.7, 0.5))[:, None, None]))
    middle = slice(hu.shape[0] // 2 - 6, hu.shape[0] // 2 + 6)
    hu[middle] += 150 * np.sin(24 * angle)
    hu[ball(hu.shape, (0.5, 0.7, 0.5), 8.0)] = 3071
    return hu.clip(-1024, 3071)


def with_arms_down(thorax: Phantom) -> Volume:
    hu = thorax.volume_hu.copy()
    hu[:, 60:100, :14] = 40
    hu[:, 60:100, -14:] = 40
    hu[:, 75:85, 5:10] = 900
    hu[:, 75:85, -10:-5] = 900
    return hu


@pytest.mark.fault("chest", "{change}", "analysed; lobes as without it")
@pytest.mark.parametrize("change", [with_contrast, with_metal, with_arms_down], ids=lambda c: c.__name__)
def test_lobes_are_found_all_the_same(thorax: Phantom, model: LoadedModel, change: object) -> None:
    anatomy = found(change(thorax), model)  # type: ignore[operator]
    assert dice(anatomy.lobes > 0, thorax.lobes > 0) > 0.95
    for lobe in Lobe:
        assert dice(anatomy.lobes == lobe.label, thorax.lobes == lobe.label) > 0.85, lobe


@pytest.mark.fault(
    "chest", "A lung that was removed", "flag `LOBES_WITHOUT_AIR`, `LOBE_MISSING` or `LUNGS_ASYMMETRIC`"
)
def test_removed_lung_is_flagged(thorax: Phantom, model: LoadedModel) -> None:
    hu = thorax.volume_hu.copy()
    hu[np.isin(thorax.lobes, [lobe.label for lobe in LEFT_LOBES])] = 30
    assert flags(found(hu, model), hu) & {"LUNGS_ASYMMETRIC", "LOBE_MISSING", "LOBES_WITHOUT_AIR"}


@pytest.mark.fault("chest", "Field of view that cuts the lungs", "flag `FIELD_OF_VIEW_CROPPED`")
def test_cropped_field_of_view_is_flagged(thorax: Phantom, model: LoadedModel) -> None:
    columns = np.flatnonzero((thorax.lobes > 0).any(axis=(0, 1)))
    cut = np.ascontiguousarray(thorax.volume_hu[:, :, columns[0] + 15 :])
    assert "FIELD_OF_VIEW_CROPPED" in flags(found(cut, model), cut)


@pytest.mark.fault(
    "chest", "Scan that begins above the bases or ends below the apices", "flag `LUNG_…_TRUNCATED`"
)
@pytest.mark.parametrize(
    ("part", "code"), [(slice(40, None), "LUNG_BASE_TRUNCATED"), (slice(0, 90), "LUNG_APEX_TRUNCATED")]
)
def test_cut_off_lungs_are_flagged(thorax: Phantom, model: LoadedModel, part: slice, code: str) -> None:
    cut = np.ascontiguousarray(thorax.volume_hu[part])
    assert code in flags(found(cut, model), cut)


@pytest.mark.parametrize(
    ("shape", "spacing_mm"), [((800, 48, 48), (0.4, 8, 8)), ((40, 640, 640), (8, 0.56, 0.56))]
)
@pytest.mark.fault("chest", "{shape} voxels of {spacing_mm} mm", "analysed")
def test_any_number_of_voxels_is_taken(
    thorax: Phantom, model: LoadedModel, shape: tuple[int, ...], spacing_mm: tuple[float, ...]
) -> None:
    takes = [np.arange(n) * have // n for n, have in zip(shape, thorax.volume_hu.shape, strict=True)]
    lobes = found(thorax.volume_hu[np.ix_(*takes)], model, spacing_mm).lobes
    assert dice(lobes > 0, thorax.lobes[np.ix_(*takes)] > 0) > 0.9


def noise(shape: tuple[int, ...]) -> Volume:
    return np.random.default_rng(0).normal(0, 500, shape)


def water_phantom(shape: tuple[int, ...]) -> Volume:
    """Of quality assurance: a cylinder of water with inserts of air, 3 cm wide."""
    hu = np.full(shape, -1000.0)
    rows, columns = (np.indices(shape[1:]) - np.array(shape[1:])[:, None, None] / 2) * 2.0
    hu[:, rows**2 + columns**2 < 100**2] = 0
    hu[:, (rows - 50) ** 2 + columns**2 < 15**2] = -1000
    return hu + np.random.default_rng(0).normal(0, 10, shape)


def legs(shape: tuple[int, ...]) -> Volume:
    hu = np.full(shape, -1000.0)
    rows, columns = (np.indices(shape[1:]) - np.array(shape[1:])[:, None, None] / 2) * 2.0
    for centre in (-80, 80):
        hu[:, rows**2 + (columns - centre) ** 2 < 70**2] = 40
        hu[:, rows**2 + (columns - centre) ** 2 < 15**2] = 800
    return hu + np.random.default_rng(0).normal(0, 10, shape)


@pytest.mark.fault("chest", "{thing} instead of a chest", "exit code 4, `NO_LUNG`")
@pytest.mark.parametrize("thing", [noise, water_phantom, legs], ids=lambda t: t.__name__)
def test_what_is_no_chest_is_refused(model: LoadedModel, thing: object) -> None:
    with pytest.raises(NoLungError):
        found(thing((128, 160, 180)), model)  # type: ignore[operator]
