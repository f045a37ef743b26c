"""Data sets of DICOM files: COVID-CT-MD and RICORD."""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from lungct.dicom_read import read_volume, scan_folder
from lungct.errors import GeometryError, InputError, NoEligibleSeriesError
from lungct.records import CtVolume, Lobe
from lungct.records.orientation import to_canonical
from lungct_research.datasets.arrays import BoolArray
from lungct_research.datasets.case import Case, require, require_any, without_infection
from lungct_research.datasets.ct_files import read_ct
from lungct_research.datasets.disease import Disease

LOBES_OF_LABELS = {
    "LUL": Lobe.LEFT_UPPER,
    "LLL": Lobe.LEFT_LOWER,
    "RUL": Lobe.RIGHT_UPPER,
    "RML": Lobe.RIGHT_MIDDLE,
    "RLL": Lobe.RIGHT_LOWER,
}
"""Names of the lobes in ``labels.json`` of the project's own layout."""

COVID_CT_MD_LOBES = (
    Lobe.LEFT_LOWER,
    Lobe.LEFT_UPPER,
    Lobe.RIGHT_LOWER,
    Lobe.RIGHT_MIDDLE,
    Lobe.RIGHT_UPPER,
)
"""Order of the last axis of ``Lobe-level-labels.npy`` (README of the data set)."""

INFECTIOUS = ("Infectious opacity", "Infectious TIB/micronodules", "Infectious cavity")
"""Labels of RICORD 1a that are infectious opacities, as public projects that read it spell them; its others
are atelectasis, noninfectious nodule or mass, and other noninfectious opacity."""


def labelled_studies(data_dir: Path) -> Iterator[Case]:
    """Studies in the project's own layout: ``dicom/NAME`` and ``dicom/labels.json``."""
    file = require(data_dir / "dicom" / "labels.json")
    for name, known in json.loads(file.read_text(encoding="utf-8")).items():
        infected = {
            LOBES_OF_LABELS[lobe]: np.array(cranial_first, bool)[::-1]
            for lobe, cranial_first in known["lobe_infected"].items()
        }
        yield Case(
            name,
            read_ct(data_dir / "dicom" / name)[0],
            slice_infected=np.any(list(infected.values()), axis=0),
            lobe_infected=infected,
            disease=_disease_of(name),
        )


def covid_ct_md(data_dir: Path) -> Iterator[Case]:
    """Labelled chests of COVID-CT-MD (Afshar et al. 2021, Sci. Data 8: 121), layout of its README.

    ``COVID-19 subjects/P001/*.dcm``, ``CAP subjects/cap001/*.dcm``, ``Index.csv`` (columns Label Index and
    Folder/ID), ``Slice-level-labels.npy`` and ``Lobe-level-labels.npy`` (case, slice, lobe). Slices are
    labelled "sorted by slice location"; only from head to feet do they agree with the lobes.
    """
    slices, lobes = _newest_labels(data_dir, "Slice"), _newest_labels(data_dir, "Lobe")
    with require(data_dir / "Index.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for position, row in enumerate(rows):
        name = row["Folder/ID"]
        # The published index skips 43 while the arrays do not: where there is a label a row, the rows count.
        index = position if len(slices) == len(rows) else int(row["Label Index"])
        folder = require_any(list(data_dir.glob(f"*/{name}")), f"{data_dir}/*/{name}")[0]
        volume = read_ct(folder)[0]
        labels = _caudal_first(np.column_stack([slices[index], lobes[index]]), volume, folder)
        yield Case(
            name,
            volume,
            slice_infected=labels[:, 0],
            lobe_infected={lobe: labels[:, 1 + k] for k, lobe in enumerate(COVID_CT_MD_LOBES)},
            disease=_disease_of(name),
        )


def covid_ct_md_normal(data_dir: Path) -> Iterator[Case]:
    """The chests of COVID-CT-MD without infection: ``Normal subjects/normalNNN/*.dcm``."""
    folders = require_any(list(data_dir.glob("*/normal[0-9]*")), f"{data_dir}/*/normalNNN")
    for folder in folders:
        yield without_infection(folder.name, read_ct(folder)[0])


def _disease_of(name: str) -> Disease:
    """Tell the disease from a case's name in COVID-CT-MD, ``P001`` or ``cap001``, or in the own layout."""
    return Disease.OTHER_INFECTION if name.lower().startswith("cap") else Disease.COVID19


def _newest_labels(data_dir: Path, level: str) -> np.ndarray:
    """Labels of COVID-CT-MD; its README says that those of P001 and P006 were corrected in 2021."""
    updated = data_dir / f"{level}-level-labels-updated-1.npy"
    labels: np.ndarray = np.load(
        updated if updated.exists() else require(data_dir / f"{level}-level-labels.npy")
    )
    return labels


def _caudal_first(cranial_first: np.ndarray, volume: CtVolume, folder: Path) -> BoolArray:
    """Labels ``[slices, labels]`` of the volume's slices; the stored ones are padded to the longest case."""
    n = len(volume.volume_hu)
    if cranial_first[n:].any():
        raise GeometryError(f"{folder} has {n} slices, but labels for more", "LABELS")
    return cranial_first[:n][::-1] > 0


def ricord_1a(data_dir: Path) -> Iterator[Case]:
    """Annotated series of MIDRC-RICORD-1a (Tsai et al. 2021, Radiology 299: E204-E213), from TCIA.

    ``MIDRC-RICORD-1A/PATIENT/STUDY/SERIES/*.dcm`` and ``MIDRC-RICORD-1a_annotations*.json``, an export of
    MD.ai (docs.md.ai/data/json): polygons ``data.vertices`` in pixels, column first, by SOPInstanceUID.
    """
    pattern = "MIDRC-RICORD-1a_annotations*.json"
    export = require_any(list(data_dir.glob(pattern)), f"{data_dir}/{pattern}")[-1]
    polygons = _infectious_polygons(json.loads(export.read_text(encoding="utf-8")), export)
    root = require(data_dir / "MIDRC-RICORD-1A")
    for folder in require_any([path for path in root.iterdir() if path.is_dir()], f"{root}/*"):
        for series in scan_folder(folder).series:
            if series.series_uid in polygons:
                source = read_volume(series)
                mask = _drawn(polygons[series.series_uid], source, folder)
                opacity = np.ascontiguousarray(
                    to_canonical(CtVolume(mask, source.affine_lps)).volume_hu, np.uint8
                )
                name = f"{folder.name}-{series.series_uid.rsplit('.', 1)[-1]}"
                yield Case(name, to_canonical(source), opacity, disease=Disease.COVID19)


Polygons = dict[str, list[np.ndarray]]
"""Vertices ``[points, 2]``, column and row, by SOP Instance UID."""


def _infectious_polygons(export: dict[str, Any], path: Path) -> dict[str, Polygons]:
    """Polygons of infectious opacities by Series Instance UID."""
    try:
        labels = {label["id"]: label["name"] for group in export["labelGroups"] for label in group["labels"]}
        annotations = [one for dataset in export["datasets"] for one in dataset["annotations"]]
    except KeyError as error:
        raise InputError(f"{path} is no export of MD.ai: {error} is missing", "MD_AI") from error
    found: dict[str, Polygons] = defaultdict(lambda: defaultdict(list))
    for one in annotations:
        vertices = (one.get("data") or {}).get("vertices")
        if labels.get(one["labelId"]) in INFECTIOUS and vertices:
            found[one["SeriesInstanceUID"]][one["SOPInstanceUID"]].append(np.asarray(vertices, float))
    return found


def _drawn(polygons: Polygons, source: CtVolume, folder: Path) -> np.ndarray:
    """Mask of filled polygons on the grid of a series as it is stored."""
    slice_of = {image.sop_instance_uid: index for index, image in enumerate(source.images)}
    if not polygons.keys() <= slice_of.keys():
        raise GeometryError(f"{folder}: annotated slices are missing or were resampled", "ANNOTATIONS")
    mask = np.zeros(source.volume_hu.shape, np.int16)
    for uid, drawn in polygons.items():
        image = Image.new("L", source.volume_hu.shape[:0:-1])
        for vertices in drawn:
            if len(vertices) > 2:
                ImageDraw.Draw(image).polygon([tuple(point) for point in vertices], fill=1)
        mask[slice_of[uid]] = np.asarray(image)
    return mask


def ricord_1b(data_dir: Path) -> Iterator[Case]:
    """Studies of MIDRC-RICORD-1b, negative for COVID-19: ``MIDRC-RICORD-1B/PATIENT/STUDY/SERIES/*.dcm``.

    They may show other infections, so nothing is said about opacities.
    """
    root = require(data_dir / "MIDRC-RICORD-1B")
    pattern = f"{root}/PATIENT/STUDY"
    for folder in require_any([path for path in root.glob("*/*") if path.is_dir()], pattern):
        try:
            volume = read_ct(folder)[0]
        except NoEligibleSeriesError as error:
            print(f"{folder.name} left out: {error}", file=sys.stderr)
            continue
        yield Case(f"{folder.parent.name}-{folder.name}", volume)
