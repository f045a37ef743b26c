"""The gateway with an analysis that leaves the networks out: real reading, errors and DICOM objects, at once.

``python -m`` runs the gateway if its first argument is ``run``, and the worker otherwise.
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import numpy as np

from lungct.dicom_read import read_chest
from lungct.dicom_read.scan import scan_folder
from lungct.dicom_read.selection import select_series
from lungct.dicom_write.write import write_dicom
from lungct.findings.quality import conclude
from lungct.findings.quantification import quantify
from lungct.journal import Journal
from lungct.records import (
    BronchovascularTree,
    Classification,
    Lobe,
    LungAnatomy,
    ModelInfo,
    Opacities,
    Probabilities,
)
from lungct.run import run_into
from lungct.settings import DicomSettings
from lungct_services.gateway.logs import configure_logging
from lungct_services.gateway.service import Service
from lungct_services.gateway.settings import read_gateway_settings
from lungct_services.runners.processes import RunnerSettings, WorkerRunner
from lungct_services.runners.worker import serve

MODULE = "tests.lungct_services.gateway.without_networks"
OBJECTS = DicomSettings(structured_report=False, encapsulated_pdf=False, secondary_captures=False)
MODEL = ModelInfo("none", "0", "0" * 64, provisional=True)


def analyse(study: Path, out: Path) -> None:
    journal = Journal()
    run_into(out, journal, lambda folder: find_half_an_opacity(study, folder, journal))


def find_half_an_opacity(study: Path, folder: Path, journal: Journal) -> None:
    """Call all air the left upper lobe, and the lower half of it an opacity."""
    journal.note(scan := scan_folder(study))
    journal.note(selection := select_series(scan))
    chest = read_chest(selection)
    air = np.where(chest.volume.volume_hu < -500, np.uint8(Lobe.LEFT_UPPER.label), np.uint8(0))
    half = air.astype(bool).astype(np.uint8)
    half[len(half) // 2 :] = 0
    anatomy, opacities = LungAnatomy(air, MODEL), Opacities(half, MODEL)
    tree = BronchovascularTree(np.zeros_like(air), np.zeros_like(air))
    classification = Classification(Probabilities(0.1, 0.2, 0.7), MODEL)
    quantification = quantify(anatomy, opacities, chest.volume.voxel_ml)
    analysis = conclude(chest, anatomy, classification, opacities, tree, quantification)
    write_dicom(folder, OBJECTS, analysis, None, datetime.now())
    journal.note(analysis.findings)


def make_worker(settings: RunnerSettings, log_file: Path) -> WorkerRunner:
    return WorkerRunner(settings, log_file, MODULE)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        configure_logging("INFO")
        Service(read_gateway_settings(Path(sys.argv[2])), make_worker).run()
    else:
        serve(analyse)
