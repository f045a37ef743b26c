"""Whole runs of the application that several test modules look at."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jsonschema
import numpy as np
from filelock import FileLock

from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.dicom_study import write_localizer, write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions
from lungct_research.synthesis.phantom.thorax import known_volumes, make_thorax

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
SCHEMA = json.loads((ROOT / "docs" / "reference" / "result.schema.json").read_text())
REAL_STUDIES = ("covid-P001", "cap-cap001", "normal-normal001")

DELIVERED = [
    "dicom/airways_vessels_seg.dcm",
    "dicom/anatomy_seg.dcm",
    *(f"dicom/key_slice_{number}.dcm" for number in range(1, 10)),
    "dicom/measurements_sr.dcm",
    "dicom/opacities_seg.dcm",
    "dicom/report_pdf.dcm",
    "lobes.nii.gz",
    "opacities.nii.gz",
    "report.html",
    "report.pdf",
]
PLANTED = {
    "patient_name": "Quaxolotl^Zenobia",
    "patient_id": "ID-77310955",
    "patient_birth_date": "19530714",
    "institution": "Wolkenheim Hospital",
    "study_date": "19991231",
    "study_description": "Follow-up of Zenobia",
    "accession_number": "ACC-5550123",
}
"""Identifiers that occur nowhere else."""

Made = TypeVar("Made")


@dataclass(frozen=True)
class Run:
    exit_code: int
    log: str
    out: Path

    @property
    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((self.out / "result.json").read_text())
        jsonschema.validate(result, SCHEMA)
        return result

    @property
    def files(self) -> list[str]:
        return sorted(path.relative_to(self.out).as_posix() for path in self.out.rglob("*") if path.is_file())


def run_application(study: Path, out: Path, *options: object) -> Run:
    """Run the application in a process of its own, as users do."""
    command = [sys.executable, ROOT / "app", "-i", study, "-o", out, "-m", MODELS, *options]
    process = subprocess.run(  # noqa: S603
        [str(part) for part in command], cwd=out.parent, capture_output=True, text=True, check=False
    )
    return Run(process.returncode, process.stdout + process.stderr, out)


@dataclass(frozen=True)
class PhantomRun:
    truth: dict[str, Any]
    run: Run


def run_phantom(folder: Path) -> PhantomRun:
    """A phantom among what else lies in export folders: junk, a localizer, a thick series."""
    study = folder / "study"
    phantom = make_thorax(1, disease=Disease.COVID19)
    thin = StudyOptions(seed=1, series_number=3, spacing_mm=phantom.spacing_mm, kernel="STANDARD", **PLANTED)
    write_study(phantom.volume_hu, study / "a" / "b", thin)
    small = np.full((40, 32, 32), -800, np.int16)
    thick = StudyOptions(seed=1, series_number=1, spacing_mm=(5, 2, 2), **PLANTED)
    write_study(small, study / "thick", thick)
    write_localizer(small, study / "localizer", StudyOptions(seed=1, series_number=2, **PLANTED))
    (study / "notes.dcm").write_text("not DICOM")
    (study / f"{PLANTED['patient_id']}.txt").write_text("named after the patient")
    (study / "empty.dcm").touch()
    return PhantomRun(known_volumes(phantom, seed=1), run_application(study, folder / "out"))


def made_once(folder: Path, make: Callable[[Path], Made]) -> Made:
    """What ``make`` returns and leaves in the folder; of several processes the first makes it for all."""
    folder.mkdir(exist_ok=True)
    returned = folder / "returned.pickle"
    with FileLock(folder / "lock"):
        if not returned.exists():
            returned.write_bytes(pickle.dumps(make(folder)))
    made: Made = pickle.loads(returned.read_bytes())  # noqa: S301
    return made
