"""A study of 300 slices of 512 x 512 with known lobes, opacities, airways and vessels."""

from __future__ import annotations

from pathlib import Path

from lungct.dicom_read import scan_folder
from lungct.dicom_read.chest import read_chest
from lungct.findings.conclusion import conclude
from lungct.findings.quantification import quantify
from lungct.records import (
    Analysis,
    BronchovascularTree,
    Classification,
    LungAnatomy,
    ModelInfo,
    Opacities,
    Probabilities,
    Selection,
    SeriesVerdict,
)
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions
from lungct_research.synthesis.phantom.thorax import make_thorax

SHAPE, SPACING_MM = (300, 512, 512), (1.1, 0.7, 0.7)


def analysed_study(folder: Path) -> Analysis:
    """Write the phantom of seed 1 as DICOM, read it back, and take its truth for findings."""
    phantom = make_thorax(1, SPACING_MM, SHAPE, disease=Disease.COVID19)
    write_study(phantom.volume_hu, folder, StudyOptions(spacing_mm=SPACING_MM))
    scan = scan_folder(folder)
    chest = read_chest(Selection(scan, (SeriesVerdict(scan.series[0], rank=1),)))
    model = ModelInfo("truth", "1", "0" * 64, provisional=True)
    anatomy, opacities = LungAnatomy(phantom.lobes, model), Opacities(phantom.opacity, model)
    tree = BronchovascularTree(phantom.airways, phantom.vessels)
    quantification = quantify(anatomy, opacities, chest.volume.voxel_ml)
    classification = Classification(Probabilities(0.8, 0.1, 0.1), model)
    findings = conclude(chest, anatomy, classification, opacities, tree, quantification)
    return Analysis(chest, anatomy, opacities, tree, findings)
