"""Data sets of chests with experts' masks or labels, each in the layout in which it is published.

Every reader takes the folder of the data and yields cases; a file or folder that is missing raises
:class:`~lungct.errors.InputError`, which names it.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image, ImageDraw

from lungct.dicom_read import read_volume, scan_folder
from lungct.errors import GeometryError, InputError, NoEligibleSeriesError
from lungct.records import CtVolume, Lobe
from lungct.records.orientation import canonical_volume, to_canonical
from lungct.volume_files import read_nifti
from lungct_research.datasets.case import Case, find_paths, read_canonical_mask
from lungct_research.datasets.ct_files import convert_grey_to_hu, read_ct
from lungct_research.datasets.disease import Disease
from lungct_research.datasets.volumes import estimate_hu, read_array, read_real_chest, read_split

COVID_CT_MD_LOBES = (
    Lobe.LEFT_LOWER,
    Lobe.LEFT_UPPER,
    Lobe.RIGHT_LOWER,
    Lobe.RIGHT_MIDDLE,
    Lobe.RIGHT_UPPER,
)
"""Order of the last axis of ``Lobe-level-labels.npy`` (README of the data set)."""

LOBES_OF_LABELS = dict(zip(("LLL", "LUL", "RLL", "RML", "RUL"), COVID_CT_MD_LOBES, strict=True))
"""Names of the lobes in ``labels.json`` of the project's own layout."""

UPSIDE_DOWN = ("vol1",)
"""Chests of MedSeg whose slices run from head to feet, as one sees; their headers do not tell."""

INFECTIOUS = ("Infectious opacity", "Infectious TIB/micronodules", "Infectious cavity")
"""Labels of RICORD 1a that are infectious opacities, as public projects that read it spell them; its others
are atelectasis, noninfectious nodule or mass, and other noninfectious opacity."""


def medseg(data_dir: Path) -> Iterator[Case]:
    """Read four chests of MedSeg's "COVID-19 CT segmentation dataset 2" in the project's own layout.

    ``covid_grey/NAME.nii.gz``, stored as 8-bit grey in an unknown window, and ``covid_grey/NAME_seg.nii.gz``
    (1 opacity, 2 other lung). HU are approximate, so the chests are for testing only.
    """
    for path in find_paths(data_dir, "covid_grey/*_seg.nii.gz"):
        name = path.name.removesuffix("_seg.nii.gz")
        stored, spacing_mm = read_array(path.with_name(f"{name}.nii.gz"))
        grey, mask = stored.astype(np.uint8), read_array(path)[0].astype(np.uint8)
        if name in UPSIDE_DOWN:
            grey, mask = grey[::-1], mask[::-1]
        volume_hu = estimate_hu(grey, normal_lung=mask == 2, outside=mask == 0)
        opacity, lungs = (mask == 1).astype(np.uint8), (mask > 0).astype(np.uint8)
        yield Case(name, canonical_volume(volume_hu, spacing_mm), opacity, lungs, disease=Disease.COVID19)


def no_infection(data_dir: Path) -> Iterator[Case]:
    """Read the real chests without infection that are no hosts in training.

    ``no_infection/NAME.nii.gz``, and studies ``dicom/normal-NAME``.
    """
    hosts = read_split("real_chests")["train"]
    for path in find_paths(data_dir, "no_infection/*.nii.gz"):
        name = path.name.removesuffix(".nii.gz")
        if name not in hosts:
            yield _without_infection(name, canonical_volume(*read_real_chest(data_dir, name)))
    yield from _read_without_infection(sorted((data_dir / "dicom").glob("normal-*")))


def labelled_studies(data_dir: Path) -> Iterator[Case]:
    """Read the studies in the project's own layout: ``dicom/NAME`` and ``dicom/labels.json``."""
    (file,) = find_paths(data_dir, "dicom/labels.json")
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


def covid_19_ct_seg(data_dir: Path) -> Iterator[Case]:
    """Read twenty chests of Ma et al. 2021, Medical Physics 48: 1197-1210, Zenodo 3757476, archives unpacked.

    ``COVID-19-CT-Seg_20cases/NAME.nii.gz``, and under the same name ``Infection_Mask`` (1) and
    ``Lung_and_Infection_Mask`` (1 left lung, 2 right lung, 3 infection). Chests from Radiopaedia are stored
    as grey from 0 to 255 in the lung window (README of the authors' benchmark,
    github.com/JunMa11/COVID-19-CT-Seg-Benchmark), the others in HU. The folders are the archives of the
    record; labels and names as in MIScnn's example and the copy at
    huggingface.co/datasets/MedOtter/covid19-ct-seg.
    """
    for path in find_paths(data_dir, "COVID-19-CT-Seg_20cases/*.nii*"):
        source = read_nifti(path)
        opacity, lungs = (
            (read_canonical_mask(data_dir / folder / path.name, source, path) > 0).astype(np.uint8)
            for folder in ("Infection_Mask", "Lung_and_Infection_Mask")
        )
        volume = to_canonical(source)
        if volume.volume_hu.min() >= 0 and volume.volume_hu.max() <= 255:
            volume = replace(volume, volume_hu=convert_grey_to_hu(volume.volume_hu))
        yield Case(path.name.split(".")[0], volume, opacity, lungs, disease=Disease.COVID19)


def mosmed(data_dir: Path) -> Iterator[Case]:
    """Read the fifty chests of MosMedData with masks (Morozov et al. 2020, medRxiv 2020.05.20.20100362).

    ``studies/CT-1/study_NNNN.nii.gz`` and ``masks/study_NNNN_mask.nii.gz`` (1 ground-glass or consolidation,
    says the description of the set), names as several public projects that read it have them.
    """
    for mask_path in find_paths(data_dir, "masks/*_mask.nii*"):
        name = mask_path.name.split("_mask")[0]
        path = find_paths(data_dir, f"studies/CT-*/{name}.nii*")[0]
        source = read_nifti(path)
        opacity = (read_canonical_mask(mask_path, source, path) > 0).astype(np.uint8)
        yield Case(name, to_canonical(source), opacity, disease=Disease.COVID19)


def mosmed_ct_0(data_dir: Path) -> Iterator[Case]:
    """Read the chests of MosMedData without signs of an infection: ``studies/CT-0/study_NNNN.nii.gz``."""
    return _read_without_infection(find_paths(data_dir, "studies/CT-0/*.nii*"))


def covid_ct_md(data_dir: Path) -> Iterator[Case]:
    """Read the labelled chests of COVID-CT-MD (Afshar et al. 2021, Sci. Data 8: 121), layout of its README.

    ``COVID-19 subjects/P001/*.dcm``, ``CAP subjects/cap001/*.dcm``, ``Index.csv`` (columns Label Index and
    Folder/ID), ``Slice-level-labels.npy`` and ``Lobe-level-labels.npy`` (case, slice, lobe). Slices are
    labelled "sorted by slice location"; only from head to feet do they agree with the lobes.
    """
    slices, lobes = _newest_labels(data_dir, "Slice"), _newest_labels(data_dir, "Lobe")
    rows = pl.read_csv(find_paths(data_dir, "Index.csv")[0], infer_schema=False).to_dicts()
    for position, row in enumerate(rows):
        name = row["Folder/ID"]
        # The published index skips 43 while the arrays do not: where there is a label a row, the rows count.
        index = position if len(slices) == len(rows) else int(row["Label Index"])
        folder = find_paths(data_dir, f"*/{name}")[0]
        volume = read_ct(folder)[0]
        n, labels = len(volume.volume_hu), np.column_stack([slices[index], lobes[index]]) > 0
        if labels[n:].any():
            raise GeometryError(f"{folder} has {n} slices, but labels for more", "LABELS")
        caudal_first = labels[:n][::-1]
        yield Case(
            name,
            volume,
            slice_infected=caudal_first[:, 0],
            lobe_infected={lobe: caudal_first[:, 1 + k] for k, lobe in enumerate(COVID_CT_MD_LOBES)},
            disease=_disease_of(name),
        )


def _newest_labels(data_dir: Path, level: str) -> np.ndarray:
    """Read labels of COVID-CT-MD; its README says that those of P001 and P006 were corrected in 2021."""
    updated = data_dir / f"{level}-level-labels-updated-1.npy"
    published = find_paths(data_dir, f"{level}-level-labels.npy")[0]
    labels: np.ndarray = np.load(updated if updated.exists() else published)
    return labels


def covid_ct_md_normal(data_dir: Path) -> Iterator[Case]:
    """Read the chests of COVID-CT-MD without infection: ``Normal subjects/normalNNN/*.dcm``."""
    return _read_without_infection(find_paths(data_dir, "*/normal[0-9]*"))


def ricord_1a(data_dir: Path) -> Iterator[Case]:
    """Read the annotated series of MIDRC-RICORD-1a (Tsai et al. 2021, Radiology 299: E204-E213), from TCIA.

    ``MIDRC-RICORD-1A/PATIENT/STUDY/SERIES/*.dcm`` and ``MIDRC-RICORD-1a_annotations*.json``, an export of
    MD.ai (docs.md.ai/data/json): polygons ``data.vertices`` in pixels, column first, by SOPInstanceUID.
    """
    export = find_paths(data_dir, "MIDRC-RICORD-1a_annotations*.json")[-1]
    polygons = _infectious_polygons(json.loads(export.read_text(encoding="utf-8")), export)
    for folder in find_paths(data_dir, "MIDRC-RICORD-1A/*/"):
        for series in scan_folder(folder).series:
            if series.series_uid in polygons:
                source = read_volume(series)
                mask = _draw(polygons[series.series_uid], source, folder)
                canonical = to_canonical(CtVolume(mask, source.affine_lps)).volume_hu
                opacity = np.ascontiguousarray(canonical, np.uint8)
                name = f"{folder.name}-{series.series_uid.rsplit('.', 1)[-1]}"
                yield Case(name, to_canonical(source), opacity, disease=Disease.COVID19)


Polygons = dict[str, list[np.ndarray]]
"""Vertices ``[points, 2]``, column and row, by SOP Instance UID."""


def _infectious_polygons(export: dict[str, Any], path: Path) -> dict[str, Polygons]:
    """Return the polygons of infectious opacities by Series Instance UID."""
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


def _draw(polygons: Polygons, source: CtVolume, folder: Path) -> np.ndarray:
    """Fill polygons on the grid of a series as it is stored."""
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
    """Read the studies of MIDRC-RICORD-1b, negative for COVID-19: ``MIDRC-RICORD-1B/PATIENT/STUDY/SERIES``.

    They may show other infections, so nothing is said about opacities.
    """
    for folder in find_paths(data_dir, "MIDRC-RICORD-1B/*/*/"):
        try:
            volume = read_ct(folder)[0]
        except NoEligibleSeriesError as error:
            print(f"{folder.name} left out: {error}", file=sys.stderr)
            continue
        yield Case(f"{folder.parent.name}-{folder.name}", volume)


def _read_without_infection(paths: Iterable[Path]) -> Iterator[Case]:
    for path in paths:
        yield _without_infection(path.name.split(".")[0], read_ct(path)[0])


def _without_infection(name: str, volume: CtVolume) -> Case:
    """Return the case of a chest in which nothing is opacity."""
    nothing = np.zeros(volume.volume_hu.shape, np.uint8)
    return Case(name, volume, opacity=nothing, disease=Disease.NO_INFECTION)


def _disease_of(name: str) -> Disease:
    """Tell the disease from a case's name in COVID-CT-MD, ``P001`` or ``cap001``, or in the own layout."""
    return Disease.OTHER_INFECTION if name.lower().startswith("cap") else Disease.COVID19
