"""Manifests of public data sets with labels of whole chests, each in the layout in which it is published."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import polars as pl

from lungct_research.datasets.case import find_paths
from lungct_research.datasets.manifest import ManifestRow


def _labelled(
    root: Path, labels: Mapping[str, str], name_patient: Callable[[Path], str], institution: str
) -> Iterator[ManifestRow]:
    """Yield a row for every path that matches a pattern, with the label of the pattern."""
    for pattern, label in labels.items():
        for path in find_paths(root, pattern):
            yield ManifestRow(0, path, name_patient(path), institution, label)


def covid_ct_md(root: Path) -> Iterator[ManifestRow]:
    """List COVID-CT-MD (Afshar et al. 2021, Sci. Data 8: 121), from one centre in Tehran.

    ``COVID-19 subjects/P001``, ``Cap subjects/cap001``, ``Normal subjects/normal001``.
    """
    labels = {"*/P[0-9]*": "covid19", "*/cap[0-9]*": "other_infection", "*/normal[0-9]*": "no_infection"}
    return _labelled(root, labels, lambda path: f"covid-ct-md-{path.name}", "covid-ct-md")


def mosmed(root: Path) -> Iterator[ManifestRow]:
    """List MosMedData (Morozov et al. 2020, medRxiv 2020.05.20.20100362): ``studies/CT-0`` to ``CT-4``.

    CT-0 is without signs of an infection; the others are graded as COVID-19. The hospitals are not told.
    """
    for path in find_paths(root, "studies/CT-[0-4]/study_*.nii*"):
        label = "no_infection" if path.parent.name == "CT-0" else "covid19"
        yield ManifestRow(0, path, f"mosmed-{path.name.split('.')[0]}", "mosmed", label)


def stoic(root: Path) -> Iterator[ManifestRow]:
    """List the public part of STOIC 2021 (Revel et al. 2021, Radiology 301: E361).

    ``data/mha/ID.mha`` and ``metadata/reference.csv``. A negative PCR does not tell what the CT shows, so
    those are left out.
    """
    file = find_paths(root, "metadata/reference.csv")[0]
    reference = pl.read_csv(file, schema_overrides={"PatientID": pl.String})
    positive = reference.filter(pl.col("probCOVID") >= 0.5)
    for name in positive["PatientID"]:
        path = root.resolve() / "data" / "mha" / f"{name}.mha"
        yield ManifestRow(0, path, f"stoic-{name}", "stoic", "covid19")
    n_negative = len(reference) - len(positive)
    print(f"{n_negative} CTs left out: a negative PCR does not tell what the CT shows", file=sys.stderr)


def ricord(root: Path) -> Iterator[ManifestRow]:
    """List MIDRC-RICORD-1a (Tsai et al. 2021, Radiology 299: E204) from TCIA.

    ``MIDRC-RICORD-1A/PATIENT/STUDY/SERIES``; of a study that series is read which the application chooses.
    The number in the patient's name that its UIDs hold too is taken for the institution. The patients of 1b
    are negative for COVID-19, and nobody says whether they have another infection: they are left out.
    """
    for study in find_paths(root, "MIDRC-RICORD-1A/*/*/"):
        patient = study.parent.name
        yield ManifestRow(0, study, patient, f"ricord-{patient.split('-')[3]}", "covid19")
    if n_left_out := len(list(root.glob("MIDRC-RICORD-1B/*/*/"))):
        reason = "whether they show an infection is not told"
        print(f"{n_left_out} studies of 1b left out: {reason}", file=sys.stderr)


def cc_ccii(root: Path) -> Iterator[ManifestRow]:
    """List CC-CCII (Zhang et al. 2020, Cell 181: 1423), which holds pictures.

    ``NCP/PATIENT/SCAN``, ``CP/PATIENT/SCAN``, ``Normal/PATIENT/SCAN``. The hospitals are not told.
    """
    labels = {"NCP/*/*/": "covid19", "CP/*/*/": "other_infection", "Normal/*/*/": "no_infection"}
    return _labelled(
        root, labels, lambda scan: f"cc-ccii-{scan.parent.parent.name}-{scan.parent.name}", "cc-ccii"
    )


def project(root: Path) -> Iterator[ManifestRow]:
    """List the project's own data folder: three labelled studies, and chests without infection.

    ``dicom/covid-*``, ``dicom/cap-*``, ``dicom/normal-*``; ``no_infection/NAME.nii.gz``. Some of the latter
    are hosts in training.
    """
    labels = {"covid": "covid19", "cap": "other_infection", "normal": "no_infection"}
    labels = {f"dicom/{prefix}-*": label for prefix, label in labels.items()}
    yield from _labelled(root, labels, lambda folder: folder.name, "covid-ct-md")
    for path in find_paths(root, "no_infection/*.nii.gz"):
        name = path.name.removesuffix(".nii.gz")
        yield ManifestRow(0, path, name, name.split("-")[0], "no_infection")


LAYOUTS: dict[str, Callable[[Path], Iterator[ManifestRow]]] = {
    layout.__name__: layout for layout in (covid_ct_md, mosmed, stoic, ricord, cc_ccii, project)
}
"""Layouts by the name that the command line takes."""
