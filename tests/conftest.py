"""A small analysed chest that several tests look at."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lungct.findings.conclusion import conclude
from lungct.findings.quantification import quantify
from lungct.geometry import to_canonical
from lungct.records import (
    Chest,
    Classification,
    CtVolume,
    Findings,
    Lobe,
    LungAnatomy,
    ModelInfo,
    Opacities,
    PatientStudy,
    Probabilities,
    Scan,
    Selection,
    Series,
    SeriesVerdict,
)

MODEL = ModelInfo("toy", "1.0", "0" * 64, provisional=True)
FEET_FIRST_LPS = np.array([[0, 0, 2.0, -100], [0, 2.0, 0, -50], [-4.0, 0, 0, 300], [0, 0, 0, 1]])


@pytest.fixture(scope="session")
def real_ct() -> Path:
    folder = os.environ.get("LUNGCT_REAL_CT")
    if not folder:
        pytest.skip("LUNGCT_REAL_CT is not set: no real CTs to test on")
    return Path(folder)


@pytest.fixture(scope="session")
def chest() -> Chest:
    volume_hu = np.full((30, 60, 100), 40, np.int16)
    volume_hu[3:27, 15:45, 10:90] = -850
    source = CtVolume(volume_hu, FEET_FIRST_LPS)
    series = Series("1.2.3", "1.2.3.4", "CT", (), series_number=7, slice_thickness_mm=1.0, kernel="B70f")
    scan = Scan(Path("in"), (series,))
    selection = Selection(scan, (SeriesVerdict(series, rank=1),))
    patient = PatientStudy(patient_name="Ωμέγα Иван Müller", patient_id="P-42", study_date="20200305")
    return Chest(selection, patient, source, to_canonical(source))


@pytest.fixture(scope="session")
def anatomy(chest: Chest) -> LungAnatomy:
    lobes = np.zeros(chest.volume.volume_hu.shape, np.uint8)
    lobes[3:15, 15:45, 10:48] = Lobe.RIGHT_LOWER.label
    lobes[15:20, 15:45, 10:48] = Lobe.RIGHT_MIDDLE.label
    lobes[20:27, 15:45, 10:48] = Lobe.RIGHT_UPPER.label
    lobes[3:15, 15:45, 52:90] = Lobe.LEFT_LOWER.label
    lobes[15:27, 15:45, 52:90] = Lobe.LEFT_UPPER.label
    return LungAnatomy(lobes, MODEL)


@pytest.fixture(scope="session")
def opacities(anatomy: LungAnatomy) -> Opacities:
    mask = np.zeros_like(anatomy.lobes)
    mask[5:9, 30:44, 12:30] = 1
    return Opacities(mask, MODEL)


@pytest.fixture(scope="session")
def classification() -> Classification:
    return Classification(Probabilities(0.78, 0.17, 0.05), MODEL)


@pytest.fixture(scope="session")
def findings(
    chest: Chest, anatomy: LungAnatomy, classification: Classification, opacities: Opacities
) -> Findings:
    quantification = quantify(anatomy, opacities, chest.volume.voxel_ml)
    return conclude(chest, anatomy, classification, opacities, quantification)
