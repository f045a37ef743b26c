"""Public data sets with labels of whole chests, each in the layout in which it is published."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from lungct.errors import InputError
from lungct_research.datasets.manifest import ManifestRow


def covid_ct_md(root: Path) -> Iterator[ManifestRow]:
    """COVID-CT-MD (Afshar et al. 2021, Sci. Data 8: 121), from one centre in Tehran.

    ``COVID-19 subjects/P001``, ``Cap subjects/cap001``, ``Normal subjects/normal001``.
    """
    groups = {"P[0-9]*": "covid19", "cap[0-9]*": "other_infection", "normal[0-9]*": "no_infection"}
    for pattern, label in groups.items():
        for folder in _found(root, f"*/{pattern}"):
            yield ManifestRow(0, folder, f"covid-ct-md-{folder.name}", "covid-ct-md", label)


def mosmed(root: Path) -> Iterator[ManifestRow]:
    """MosMedData (Morozov et al. 2020, medRxiv 2020.05.20.20100362): ``studies/CT-0`` to ``CT-4``.

    CT-0 is without signs of an infection; the others are graded as COVID-19. The hospitals are not told.
    """
    for path in _found(root, "studies/CT-[0-4]/study_*.nii*"):
        label = "no_infection" if path.parent.name == "CT-0" else "covid19"
        yield ManifestRow(0, path, f"mosmed-{path.name.split('.')[0]}", "mosmed", label)


def stoic(root: Path) -> Iterator[ManifestRow]:
    """Public part of STOIC 2021 (Revel et al. 2021, Radiology 301: E361).

    ``data/mha/ID.mha`` and ``metadata/reference.csv``. A negative PCR does not tell what the CT shows, so
    those are left out.
    """
    reference = _found(root, "metadata/reference.csv")[0]
    with reference.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if float(row["probCOVID"]) >= 0.5:
            name = row["PatientID"]
            yield ManifestRow(0, root / "data" / "mha" / f"{name}.mha", f"stoic-{name}", "stoic", "covid19")
    negative = sum(float(row["probCOVID"]) < 0.5 for row in rows)
    print(f"{negative} CTs left out: a negative PCR does not tell what the CT shows", file=sys.stderr)


def ricord(root: Path) -> Iterator[ManifestRow]:
    """MIDRC-RICORD-1a (Tsai et al. 2021, Radiology 299: E204) from TCIA.

    ``MIDRC-RICORD-1A/PATIENT/STUDY/SERIES``; of a study that series is read which the application chooses.
    The number in the patient's name that its UIDs hold too is taken for the institution. The patients of 1b
    are negative for COVID-19, and nobody says whether they have another infection: they are left out.
    """
    for study in _found(root, "MIDRC-RICORD-1A/*/*/"):
        patient = study.parent.name
        yield ManifestRow(0, study, patient, f"ricord-{patient.split('-')[3]}", "covid19")
    left_out = len(list(root.glob("MIDRC-RICORD-1B/*/*/")))
    if left_out:
        print(
            f"{left_out} studies of 1b left out: whether they show an infection is not told", file=sys.stderr
        )


def cc_ccii(root: Path) -> Iterator[ManifestRow]:
    """CC-CCII (Zhang et al. 2020, Cell 181: 1423): ``NCP/PATIENT/SCAN``, ``CP/…``, ``Normal/…``, pictures.

    The hospitals are not told.
    """
    for group, label in {"NCP": "covid19", "CP": "other_infection", "Normal": "no_infection"}.items():
        for scan in _found(root, f"{group}/*/*/"):
            yield ManifestRow(0, scan, f"cc-ccii-{group}-{scan.parent.name}", "cc-ccii", label)


def project(root: Path) -> Iterator[ManifestRow]:
    """The project's own data folder: three labelled studies, and chests without infection of other sources.

    ``dicom/covid-*``, ``dicom/cap-*``, ``dicom/normal-*``; ``no_infection/NAME.nii.gz``. Some of the latter
    are hosts in training.
    """
    groups = {"covid-*": "covid19", "cap-*": "other_infection", "normal-*": "no_infection"}
    for pattern, label in groups.items():
        for folder in _found(root, f"dicom/{pattern}"):
            yield ManifestRow(0, folder, folder.name, "covid-ct-md", label)
    for path in _found(root, "no_infection/*.nii.gz"):
        name = path.name.removesuffix(".nii.gz")
        yield ManifestRow(0, path, name, name.split("-")[0], "no_infection")


LAYOUTS: dict[str, Callable[[Path], Iterator[ManifestRow]]] = {
    "covid_ct_md": covid_ct_md,
    "mosmed": mosmed,
    "stoic": stoic,
    "ricord": ricord,
    "cc_ccii": cc_ccii,
    "project": project,
}
"""By the name that the command line takes."""


def _found(root: Path, pattern: str) -> list[Path]:
    """Sorted matches.

    Raises:
        InputError: there is none.
    """
    paths = sorted(root.resolve().glob(pattern))
    if not paths:
        raise InputError(f"nothing matches {root}/{pattern}: is this the folder of the data set?", "LAYOUT")
    return paths
