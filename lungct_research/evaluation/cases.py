"""Chests to measure on: synthetic ones that no training has seen, and the public data sets of opacities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lungct.records.orientation import canonical_volume
from lungct_research.datasets import sets
from lungct_research.datasets.arrays import Spacing
from lungct_research.datasets.case import Case, find_paths
from lungct_research.datasets.disease import INFECTIONS, Disease
from lungct_research.datasets.volumes import read_anatomy, read_split
from lungct_research.synthesis.chest import make_chest
from lungct_research.synthesis.hosts import (
    HOST_SPACING_MM,
    OUTSIDE_HU,
    PHANTOM_DISEASES,
    square,
    synthetic_host,
    with_confounder,
)
from lungct_research.synthesis.lesions import Host, Kind, add_infection
from lungct_research.synthesis.phantom.thorax import make_thorax

ANATOMY_SPACING_MM = (1.5, 1.5, 1.5)
PHANTOM_SPACING_MM = (2.0, 1.4, 1.4)
"""Voxel sizes of the synthetic chests. Own decision."""

PHANTOM_SEEDS = {"test": range(900_000, 900_006), "validation": range(800_000, 800_003)}
"""Seeds that no training uses."""

CHESTS_A_KIND = 3
CENTRILOBULAR = (Kind.TREE_IN_BUD, Kind.NODULE)
"""Kinds of lesions that lie where those of other infections do."""


def anatomies(data_dir: Path, part: str, *, infected: bool) -> Iterator[Case]:
    """Yield synthetic chests around the expert lobes of one part of the split, with their lobes."""
    for name in read_split("anatomies")[part]:
        rng = np.random.default_rng([int(name), int(infected)])
        chest = make_chest(read_anatomy(data_dir, name), rng, ANATOMY_SPACING_MM)
        volume_hu = chest.volume_hu
        if infected:
            host = Host(volume_hu, chest.lobes, chest.airways, chest.spacing_mm)
            volume_hu = add_infection(host, rng, INFECTIONS[int(name) % len(INFECTIONS)]).volume_hu
        yield Case(name, canonical_volume(volume_hu, chest.spacing_mm), lobes=chest.lobes)


def phantoms(part: str) -> Iterator[Case]:
    """Yield analytic thoraces of one part, ``test`` or ``validation``, with lobes, lungs and opacities."""
    for seed in PHANTOM_SEEDS[part]:
        yield make_phantom_case(seed, PHANTOM_SPACING_MM)


def make_phantom_case(seed: int, spacing_mm: Spacing) -> Case:
    """Make an analytic thorax with lobes, lungs and opacities; the seed chooses the disease."""
    disease = PHANTOM_DISEASES[seed % len(PHANTOM_DISEASES)]
    phantom = make_thorax(seed, spacing_mm, disease=disease)
    volume = canonical_volume(phantom.volume_hu, spacing_mm)
    opacity, lungs = ((mask > 0).astype(np.uint8) for mask in (phantom.opacity, phantom.lobes))
    return Case(f"phantom-{seed}", volume, opacity, lungs, phantom.lobes, disease=disease)


def painted(data_dir: Path) -> Iterator[Case]:
    """Paint both diseases around every expert anatomy of the test part, then take phantoms of both."""
    find_paths(data_dir, "lobes/anatomies")
    for anatomy in read_split("anatomies")["test"]:
        for number, disease in enumerate(INFECTIONS):
            yield _paint_around(data_dir, anatomy, number, disease)
    yield from (case for case in phantoms("test") if case.disease in INFECTIONS)


def painted_kinds(data_dir: Path) -> Iterator[Case]:
    """Paint one kind of lesion in a chest, each kind around three of the same anatomies."""
    find_paths(data_dir, "lobes/anatomies")
    names = read_split("anatomies")["test"]
    for number, kind in enumerate(Kind):
        disease = Disease.OTHER_INFECTION if kind in CENTRILOBULAR else Disease.COVID19
        for shift in range(CHESTS_A_KIND):
            anatomy = names[(number + shift) % len(names)]
            yield _paint_around(data_dir, anatomy, len(INFECTIONS) + number, disease, kind)


def _paint_around(
    data_dir: Path, anatomy: str, number: int, disease: Disease, only: Kind | None = None
) -> Case:
    rng = np.random.default_rng([int(anatomy), number])
    host = with_confounder(synthetic_host(data_dir, anatomy, rng, HOST_SPACING_MM), rng)
    return paint_case(f"{anatomy}-{only or disease}", host, rng, disease, only)


def paint_case(
    name: str, host: Host, rng: np.random.Generator, disease: Disease, only: Kind | None = None
) -> Case:
    """Paint an infection into a chest and pad its slices to squares; see :func:`add_infection`."""
    volume_hu, mask, kinds = add_infection(host, rng, disease, only)
    opacity, lungs = (square((part > 0).astype(np.uint8), 0) for part in (mask, host.lungs))
    return Case(
        name,
        canonical_volume(square(volume_hu, OUTSIDE_HU), host.spacing_mm),
        opacity,
        lungs,
        disease=disease,
        kinds=square(kinds, 0),
    )


SETS: dict[str, Callable[[Path], Iterator[Case]]] = {
    "medseg": sets.medseg,
    "no_infection": sets.no_infection,
    "labelled_studies": sets.labelled_studies,
    "painted": painted,
    "painted_kinds": painted_kinds,
    "covid_19_ct_seg": sets.covid_19_ct_seg,
    "mosmed": sets.mosmed,
    "mosmed_ct_0": sets.mosmed_ct_0,
    "covid_ct_md": sets.covid_ct_md,
    "covid_ct_md_normal": sets.covid_ct_md_normal,
    "ricord_1a": sets.ricord_1a,
    "ricord_1b": sets.ricord_1b,
}
"""Data sets to measure opacities on, by the name that the command line takes.

Each is read from the folder of the data in the layout in which it is published; errors name the file. None is
used in training or for choosing anything; of the painted chests, the anatomies are not.
"""
