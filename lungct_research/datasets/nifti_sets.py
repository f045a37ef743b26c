"""Data sets of NIfTI files: MedSeg, COVID-19-CT-Seg, MosMedData, and chests without infection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from lungct.records import CtVolume
from lungct.records.orientation import canonical_volume, to_canonical
from lungct.volume_files import read_nifti
from lungct_research.datasets.case import Case, canonical_mask, require, require_any, without_infection
from lungct_research.datasets.ct_files import read_ct
from lungct_research.datasets.disease import Disease
from lungct_research.datasets.volumes import read_grey_chest, read_real_chest, read_split

GREY_WINDOW_HU = (-1250.0, 250.0)
"""Lung window of the chests of COVID-19-CT-Seg that are stored as grey from 0 to 255 (README of the authors'
benchmark, github.com/JunMa11/COVID-19-CT-Seg-Benchmark)."""


def medseg(data_dir: Path) -> Iterator[Case]:
    """Four chests of MedSeg's "COVID-19 CT segmentation dataset 2" in the project's own layout.

    ``covid_grey/NAME.nii.gz`` and ``covid_grey/NAME_seg.nii.gz`` (1 opacity, 2 other lung); see
    :func:`lungct_research.datasets.volumes.read_grey_chest`.
    """
    folder = require(data_dir / "covid_grey")
    for path in require_any(list(folder.glob("*_seg.nii.gz")), f"{folder}/*_seg.nii.gz"):
        name = path.name.removesuffix("_seg.nii.gz")
        volume_hu, mask, spacing_mm = read_grey_chest(data_dir, name)
        opacity, lungs = (mask == 1).astype(np.uint8), (mask > 0).astype(np.uint8)
        volume = canonical_volume(volume_hu, spacing_mm)
        yield Case(name, volume, opacity, lungs, disease=Disease.COVID19)


def no_infection(data_dir: Path) -> Iterator[Case]:
    """Real chests without infection that are no hosts in training.

    ``no_infection/NAME.nii.gz``, and studies ``dicom/normal-NAME``.
    """
    names = read_split("real_chests")
    hosts = set(names["train"])
    folder = require(data_dir / "no_infection")
    for path in require_any(list(folder.glob("*.nii.gz")), f"{folder}/*.nii.gz"):
        name = path.name.removesuffix(".nii.gz")
        if name not in hosts:
            volume = canonical_volume(*read_real_chest(data_dir, name))
            yield without_infection(name, volume)
    for study in sorted((data_dir / "dicom").glob("normal-*")):
        yield without_infection(study.name, read_ct(study)[0])


def covid_19_ct_seg(data_dir: Path) -> Iterator[Case]:
    """Twenty chests of Ma et al. 2021, Medical Physics 48: 1197-1210, Zenodo 3757476, archives unpacked.

    ``COVID-19-CT-Seg_20cases/NAME.nii.gz``, and under the same name ``Infection_Mask`` (1) and
    ``Lung_and_Infection_Mask`` (1 left lung, 2 right lung, 3 infection). Chests from Radiopaedia are stored
    as grey in :data:`GREY_WINDOW_HU`, the others in HU. The folders are the archives of the record; labels
    and names as in MIScnn's example and the copy at huggingface.co/datasets/MedOtter/covid19-ct-seg.
    """
    folder = require(data_dir / "COVID-19-CT-Seg_20cases")
    for path in require_any(list(folder.glob("*.nii*")), f"{folder}/*.nii*"):
        source = read_nifti(path)
        opacity = canonical_mask(data_dir / "Infection_Mask" / path.name, source, path)
        lungs = canonical_mask(data_dir / "Lung_and_Infection_Mask" / path.name, source, path)
        volume = _in_hu(to_canonical(source))
        yield Case(
            path.name.split(".")[0],
            volume,
            (opacity > 0).astype(np.uint8),
            (lungs > 0).astype(np.uint8),
            disease=Disease.COVID19,
        )


def _in_hu(volume: CtVolume) -> CtVolume:
    """The volume itself, or with HU, cut off at the window, where it is stored as grey from 0 to 255."""
    stored = volume.volume_hu
    if stored.min() < 0 or stored.max() > 255:
        return volume
    low_hu, high_hu = GREY_WINDOW_HU
    return replace(volume, volume_hu=low_hu + stored.astype(np.float32) * ((high_hu - low_hu) / 255))


def mosmed(data_dir: Path) -> Iterator[Case]:
    """The fifty chests of MosMedData with masks (Morozov et al. 2020, medRxiv 2020.05.20.20100362).

    ``studies/CT-1/study_NNNN.nii.gz`` and ``masks/study_NNNN_mask.nii.gz`` (1 ground-glass or consolidation,
    says the description of the set), names as several public projects that read it have them.
    """
    folder = require(data_dir / "masks")
    for mask_path in require_any(list(folder.glob("*_mask.nii*")), f"{folder}/*_mask.nii*"):
        name = mask_path.name.split("_mask")[0]
        pattern = f"studies/CT-*/{name}.nii*"
        path = require_any(list(data_dir.glob(pattern)), f"{data_dir}/{pattern}")[0]
        source = read_nifti(path)
        opacity = canonical_mask(mask_path, source, path)
        yield Case(name, to_canonical(source), (opacity > 0).astype(np.uint8), disease=Disease.COVID19)


def mosmed_ct_0(data_dir: Path) -> Iterator[Case]:
    """The chests of MosMedData without signs of an infection: ``studies/CT-0/study_NNNN.nii.gz``."""
    folder = require(data_dir / "studies" / "CT-0")
    for path in require_any(list(folder.glob("*.nii*")), f"{folder}/*.nii*"):
        yield without_infection(path.name.split(".")[0], to_canonical(read_nifti(path)))
