"""A chest of 300 slices of 512 x 512, or fewer, with known lobes, opacities, airways and vessels."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from lungct.dicom_read import choose_series, read_chest, scan_folder
from lungct.findings.quality import conclude
from lungct.findings.quantification import quantify
from lungct.records import (
    Analysis,
    BronchovascularTree,
    Classification,
    CtVolume,
    LungAnatomy,
    ModelInfo,
    Opacities,
    Probabilities,
)
from lungct.records.orientation import canonical_volume
from lungct.settings import SelectionLimits
from lungct_research.datasets.arrays import Spacing
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions
from lungct_research.synthesis.phantom.thorax import Phantom, make_thorax

ROOT = Path(__file__).resolve().parents[2]
SHAPE, SPACING_MM = (300, 512, 512), (1.1, 0.7, 0.7)
"""A usual chest CT in thin slices. Own decision."""

N_THREADS = 2
"""Two cores, as a small virtual machine has them."""

ANY_THICKNESS = SelectionLimits(max_slice_thickness_mm=SHAPE[0] * SPACING_MM[0])
"""Limits with which a chest in few slices is analysed, however thick they are."""


def spacing_of_mm(n_slices: int) -> Spacing:
    """Return the spacing of the same chest in fewer or more slices."""
    return (SPACING_MM[0] * SHAPE[0] / n_slices, *SPACING_MM[1:])


@lru_cache(maxsize=1)
def draw_chest(n_slices: int) -> tuple[Phantom, CtVolume]:
    """Draw the phantom of COVID-19 in so many slices of 512 x 512."""
    spacing_mm = spacing_of_mm(n_slices)
    phantom = make_thorax(1, spacing_mm, (n_slices, *SHAPE[1:]), disease=Disease.COVID19)
    return phantom, canonical_volume(phantom.volume_hu, spacing_mm)


def write_chest(folder: Path, n_slices: int) -> Path:
    """Write the phantom as a DICOM study; returns its folder."""
    phantom, volume = draw_chest(n_slices)
    write_study(phantom.volume_hu, folder, StudyOptions(spacing_mm=volume.spacing_mm))
    return folder


def analyse_truth(folder: Path, n_slices: int) -> Analysis:
    """Write the phantom as DICOM, read it back, and take its truth for findings."""
    phantom, _ = draw_chest(n_slices)
    chest = read_chest(choose_series(scan_folder(write_chest(folder, n_slices)), ANY_THICKNESS))
    model = ModelInfo("truth", "1", "0" * 64, provisional=True)
    anatomy, opacities = LungAnatomy(phantom.lobes, model), Opacities(phantom.opacity, model)
    tree = BronchovascularTree(phantom.airways, phantom.vessels)
    quantification = quantify(anatomy, opacities, chest.volume.voxel_ml)
    classification = Classification(Probabilities(0.8, 0.1, 0.1), model)
    return conclude(chest, anatomy, classification, opacities, tree, quantification)
