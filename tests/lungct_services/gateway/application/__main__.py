"""The application with its networks left out: real reading, real errors, real DICOM results, in a moment."""

from __future__ import annotations

import argparse
import runpy
import sys
from datetime import datetime
from pathlib import Path

import numpy as np

from lungct.dicom_read.chest import read_chest
from lungct.dicom_read.scan import scan_folder
from lungct.dicom_read.selection import select_series
from lungct.dicom_write.write import write_dicom
from lungct.findings.conclusion import conclude
from lungct.findings.quantification import quantify
from lungct.journal import Journal
from lungct.records import (
    Analysis,
    BronchovascularTree,
    Classification,
    Lobe,
    LungAnatomy,
    ModelInfo,
    Opacities,
    Probabilities,
)
from lungct.settings import DicomSettings

ROOT = Path(__file__).resolve().parents[4]
OBJECTS = DicomSettings(structured_report=False, encapsulated_pdf=False, secondary_captures=False)
MODEL = ModelInfo("none", "0", "0" * 64, provisional=True)


def analyse(arguments: argparse.Namespace, staging: Path, journal: Journal) -> None:
    """Call all air the left upper lobe, and the lower half of it an opacity."""
    journal.note(scan := scan_folder(arguments.input))
    journal.note(selection := select_series(scan))
    chest = read_chest(selection)
    air = np.where(chest.volume.volume_hu < -500, np.uint8(Lobe.LEFT_UPPER.label), np.uint8(0))
    half = air.astype(bool).astype(np.uint8)
    half[len(half) // 2 :] = 0
    anatomy, opacities = LungAnatomy(air, MODEL), Opacities(half, MODEL)
    tree = BronchovascularTree(np.zeros_like(air), np.zeros_like(air))
    classification = Classification(Probabilities(0.1, 0.2, 0.7), MODEL)
    quantification = quantify(anatomy, opacities, chest.volume.voxel_ml)
    findings = conclude(chest, anatomy, classification, opacities, tree, quantification)
    write_dicom(staging, OBJECTS, Analysis(chest, anatomy, opacities, tree, findings), None, datetime.now())
    journal.note(findings)


sys.path.insert(0, str(ROOT / "app"))
main = runpy.run_path(str(ROOT / "app" / "__main__.py"), run_name="lungct_application")["main"]
main.__globals__["_analyse"] = analyse
main.__globals__["prepare_process"] = lambda: None

if __name__ == "__main__":
    sys.exit(main())
