"""A small analysed chest that several tests look at."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage
from startup import load_cuda_runtime

from lungct.findings.quality import conclude
from lungct.findings.quantification import quantify
from lungct.records import (
    Analysis,
    BronchovascularTree,
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
    SliceHeader,
)
from lungct.records.orientation import to_canonical
from tests.application_runs import PhantomRun, Run, made_once, run_application, run_phantom

load_cuda_runtime()  # tests of the operators import Holoscan by themselves

MODEL = ModelInfo("toy", "1.0", "0" * 64, provisional=True)
FEET_FIRST_LPS = np.array([[0, 0, 2.0, -100], [0, 2.0, 0, -50], [-4.0, 0, 0, 300], [0, 0, 0, 1]])


@pytest.fixture(scope="session")
def real_ct() -> Path:
    folder = os.environ.get("LUNGCT_REAL_CT")
    if not folder:
        pytest.skip("LUNGCT_REAL_CT is not set: no real CTs to test on")
    return Path(folder)


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The temporary folder of this run of the tests, the same for all its processes."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def phantom_run(common_folder: Path) -> PhantomRun:
    return made_once(common_folder / "phantom", run_phantom)


@pytest.fixture(scope="session")
def real_run(real_ct: Path, common_folder: Path) -> Callable[[str], Run]:
    def analyse(name: str) -> Run:
        study = real_ct / "dicom" / name
        return made_once(common_folder / name, lambda folder: run_application(study, folder / "out"))

    return analyse


def _image(number: int) -> SliceHeader:
    return SliceHeader(
        path=Path("in"),
        instance_number=number + 1,
        rows=60,
        columns=100,
        position_mm=tuple((FEET_FIRST_LPS @ (number, 0, 0, 1))[:3]),
        orientation=(1, 0, 0, 0, 1, 0),
        pixel_spacing_mm=(2, 2),
        image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
        sop_instance_uid=f"1.2.3.4.{number + 1}",
    )


@pytest.fixture(scope="session")
def chest() -> Chest:
    volume_hu = np.full((30, 60, 100), 40, np.int16)
    volume_hu[3:27, 15:45, 10:90] = -850
    images = tuple(_image(number) for number in range(30))
    source = CtVolume(volume_hu, FEET_FIRST_LPS, images=images)
    series = Series(
        "1.2.3",
        "1.2.3.4",
        "CT",
        images,
        series_number=7,
        frame_of_reference_uid="1.2.3.5",
        slice_thickness_mm=1.0,
        kernel="B70f",
    )
    scan = Scan(Path("in"), (series,))
    selection = Selection(scan, (SeriesVerdict(series, rank=1),))
    header = Dataset()
    header.StudyInstanceUID, header.SOPClassUID, header.SOPInstanceUID = "1.2.3", CTImageStorage, "1.2.3.4.1"
    patient = PatientStudy(
        patient_name="Ωμέγα Иван Müller", patient_id="P-42", study_date="20200305", header=header
    )
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
def tree(anatomy: LungAnatomy) -> BronchovascularTree:
    airways, vessels = np.zeros_like(anatomy.lobes), np.zeros_like(anatomy.lobes)
    airways[:, 28:32, 48:52] = 1
    vessels[10:20, 28:32, 20:40] = 1
    return BronchovascularTree(airways, vessels)


@pytest.fixture(scope="session")
def findings(analysis: Analysis) -> Findings:
    return analysis.findings


@pytest.fixture(scope="session")
def analysis(
    chest: Chest,
    anatomy: LungAnatomy,
    classification: Classification,
    opacities: Opacities,
    tree: BronchovascularTree,
) -> Analysis:
    quantification = quantify(anatomy, opacities, chest.volume.voxel_ml)
    return conclude(chest, anatomy, classification, opacities, tree, quantification)
