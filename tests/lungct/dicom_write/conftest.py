"""A small chest, written as DICOM, read back and analysed without networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungct.dicom_read import scan_folder
from lungct.dicom_read.chest import read_chest
from lungct.findings.quality import conclude
from lungct.findings.quantification import quantify
from lungct.records import (
    Analysis,
    BronchovascularTree,
    Chest,
    Classification,
    Lobe,
    LungAnatomy,
    MaskArray,
    ModelInfo,
    Opacities,
    Probabilities,
    Selection,
    SeriesVerdict,
)
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions

Analyse = Callable[..., Analysis]
Change = Callable[[Path], None]

CHEST_HU = np.full((24, 48, 40), -1000, np.int16)
CHEST_HU[:, 3:45, 2:38] = 40
CHEST_HU[2:22, 8:40, 4:18] = -850
CHEST_HU[2:22, 8:40, 22:36] = -850

MODELS = {
    name: ModelInfo(name, "1.0", sha256=str(number) * 64, provisional=True)
    for number, name in enumerate(("lungs", "classifier", "opacity"))
}


@pytest.fixture
def analyse(tmp_path: Path) -> Analyse:
    """Writes the chest with changed options and reads it; opacities lie in the backs of the lower lobes."""

    def run(change: Change | None = None, **options: Any) -> Analysis:
        small_study(tmp_path / "study", change, **options)
        return analysed(tmp_path / "study")

    return run


def small_study(folder: Path, change: Change | None = None, **options: Any) -> None:
    """Write the chest; ``change`` edits every file."""
    defaults = StudyOptions(spacing_mm=(2.5, 1.5, 1.25), slice_thickness_mm=2.5)
    for path in write_study(CHEST_HU, folder, replace(defaults, **options)):
        if change:
            change(path)


def analysed(study: Path) -> Analysis:
    scan = scan_folder(study)
    chest = read_chest(Selection(scan, (SeriesVerdict(scan.series[0], rank=1),)))
    anatomy = LungAnatomy(_lobes(np.abs(chest.volume.volume_hu + 850) < 100), MODELS["lungs"])
    lower = np.isin(anatomy.lobes, (Lobe.LEFT_LOWER.label, Lobe.RIGHT_LOWER.label))
    lower[:, : lower.shape[1] // 2] = False
    opacities = Opacities(lower.astype(np.uint8), MODELS["opacity"])
    return concluded(chest, anatomy, opacities)


def concluded(chest: Chest, anatomy: LungAnatomy, opacities: Opacities) -> Analysis:
    classification = Classification(Probabilities(0.78, 0.17, 0.05), MODELS["classifier"])
    quantification = quantify(anatomy, opacities, chest.volume.voxel_ml)
    tree = _tree(anatomy.lobes)
    return conclude(chest, anatomy, classification, opacities, tree, quantification)


def _tree(lobes: MaskArray) -> BronchovascularTree:
    """A windpipe between the lungs, and one vessel inside each."""
    middle = [n // 2 for n in lobes.shape]
    airways, vessels = np.zeros_like(lobes), np.zeros_like(lobes)
    airways[middle[0] :, middle[1] - 2 : middle[1] + 2, middle[2] - 1 : middle[2] + 1] = 1
    vessels[middle[0] - 2 : middle[0] + 2] = lobes[middle[0] - 2 : middle[0] + 2] > 0
    vessels[airways > 0] = 0
    return BronchovascularTree(airways, vessels)


def _lobes(lung: np.ndarray) -> np.ndarray:
    """Lobes by height and side: enough to be told apart."""
    slices, _, columns = np.indices(lung.shape)
    slices, columns = slices / lung.shape[0], columns / lung.shape[2]
    lobes = np.full(lung.shape, Lobe.RIGHT_UPPER.label, np.uint8)
    lobes[slices < 0.7] = Lobe.RIGHT_MIDDLE.label
    lobes[slices < 0.5] = Lobe.RIGHT_LOWER.label
    lobes[(columns > 0.5) & (slices >= 0.5)] = Lobe.LEFT_UPPER.label
    lobes[(columns > 0.5) & (slices < 0.5)] = Lobe.LEFT_LOWER.label
    lobes[~lung] = 0
    return lobes


def empty_lobe(analysis: Analysis, lobe: Lobe) -> Analysis:
    """The analysis of somebody who lacks a lobe."""
    lobes = np.where(analysis.anatomy.lobes == lobe.label, 0, analysis.anatomy.lobes)
    return changed(analysis, lobes, np.where(lobes, analysis.opacities.mask, 0))


def without_opacities(analysis: Analysis) -> Analysis:
    """The analysis of healthy lungs."""
    return changed(analysis, analysis.anatomy.lobes, np.zeros_like(analysis.opacities.mask))


def changed(analysis: Analysis, lobes: MaskArray, mask: MaskArray) -> Analysis:
    anatomy = replace(analysis.anatomy, lobes=lobes)
    return concluded(analysis.chest, anatomy, replace(analysis.opacities, mask=mask))
