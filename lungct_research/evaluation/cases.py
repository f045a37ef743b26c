"""Synthetic chests that no training has seen, with their lobes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lungct.records.orientation import canonical_volume
from lungct_research.datasets.case import Case
from lungct_research.datasets.disease import INFECTIONS
from lungct_research.datasets.volumes import read_anatomy, read_split
from lungct_research.synthesis.chest import make_chest
from lungct_research.synthesis.hosts import PHANTOM_DISEASES
from lungct_research.synthesis.lesions import Host, add_infection
from lungct_research.synthesis.phantom.thorax import make_thorax

ANATOMY_SPACING_MM = (1.5, 1.5, 1.5)
PHANTOM_SPACING_MM = (2.0, 1.4, 1.4)
PHANTOM_SEEDS = {"test": range(900_000, 900_006), "validation": range(800_000, 800_003)}
"""Seeds that no training uses."""


def anatomies(data_dir: Path, part: str, *, infected: bool) -> Iterator[Case]:
    """Synthetic chests around the expert lobes of one part of the split."""
    for name in read_split("anatomies")[part]:
        rng = np.random.default_rng([int(name), int(infected)])
        chest = make_chest(read_anatomy(data_dir, name), rng, ANATOMY_SPACING_MM)
        volume_hu = chest.volume_hu
        if infected:
            host = Host(volume_hu, chest.lobes, chest.airways, chest.spacing_mm)
            volume_hu = add_infection(host, rng, INFECTIONS[int(name) % len(INFECTIONS)]).volume_hu
        yield Case(name, canonical_volume(volume_hu, chest.spacing_mm), lobes=chest.lobes)


def phantoms(part: str) -> Iterator[Case]:
    """Analytic thoraces of one part: ``test`` or ``validation``."""
    for seed in PHANTOM_SEEDS[part]:
        disease = PHANTOM_DISEASES[seed % len(PHANTOM_DISEASES)]
        phantom = make_thorax(seed, PHANTOM_SPACING_MM, disease=disease)
        yield Case(str(seed), canonical_volume(phantom.volume_hu, PHANTOM_SPACING_MM), lobes=phantom.lobes)
