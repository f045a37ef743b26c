"""Infections painted into chests that neither trained nor chose anything; all their masks are exact."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lungct.records.orientation import canonical_volume
from lungct_research.datasets.case import Case, find_paths
from lungct_research.datasets.disease import INFECTIONS, Disease
from lungct_research.datasets.volumes import read_split
from lungct_research.evaluation.cases import PHANTOM_SEEDS, PHANTOM_SPACING_MM
from lungct_research.synthesis.hosts import (
    HOST_SPACING_MM,
    OUTSIDE_HU,
    PHANTOM_DISEASES,
    square,
    synthetic_host,
    with_confounder,
)
from lungct_research.synthesis.lesions import Kind, add_infection
from lungct_research.synthesis.phantom.thorax import make_thorax

CHESTS_A_KIND = 3
CENTRILOBULAR = (Kind.TREE_IN_BUD, Kind.NODULE)
"""Lie where those of other infections do."""


def painted(data_dir: Path) -> Iterator[Case]:
    """Paint both diseases around every expert anatomy of the test part, then phantoms of both."""
    find_paths(data_dir, "lobes/anatomies")
    for anatomy in read_split("anatomies")["test"]:
        for number, disease in enumerate(INFECTIONS):
            yield _around(data_dir, anatomy, number, disease)
    for seed in PHANTOM_SEEDS["test"]:
        disease = PHANTOM_DISEASES[seed % len(PHANTOM_DISEASES)]
        if disease in INFECTIONS:
            phantom = make_thorax(seed, PHANTOM_SPACING_MM, disease=disease)
            volume = canonical_volume(phantom.volume_hu, PHANTOM_SPACING_MM)
            opacity, lungs = ((part > 0).astype(np.uint8) for part in (phantom.opacity, phantom.lobes))
            yield Case(f"phantom-{seed}", volume, opacity, lungs, disease=disease)


def painted_kinds(data_dir: Path) -> Iterator[Case]:
    """The same anatomies, each with two or three kinds of lesion, one in a chest."""
    find_paths(data_dir, "lobes/anatomies")
    anatomies = read_split("anatomies")["test"]
    for number, kind in enumerate(Kind):
        disease = Disease.OTHER_INFECTION if kind in CENTRILOBULAR else Disease.COVID19
        for shift in range(CHESTS_A_KIND):
            anatomy = anatomies[(number + shift) % len(anatomies)]
            yield _around(data_dir, anatomy, len(INFECTIONS) + number, disease, kind)


def _around(data_dir: Path, anatomy: str, number: int, disease: Disease, only: Kind | None = None) -> Case:
    rng = np.random.default_rng([int(anatomy), number])
    host = with_confounder(synthetic_host(data_dir, anatomy, rng, HOST_SPACING_MM), rng)
    volume_hu, mask, kinds = add_infection(host, rng, disease, only)
    opacity, lungs = (square((part > 0).astype(np.uint8), 0) for part in (mask, host.lungs))
    return Case(
        f"{anatomy}-{only or disease}",
        canonical_volume(square(volume_hu, OUTSIDE_HU), host.spacing_mm),
        opacity,
        lungs,
        disease=disease,
        kinds=square(kinds, 0),
    )
