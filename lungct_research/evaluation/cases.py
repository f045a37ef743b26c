"""Chests that no training has seen, as canonical volumes with whatever is known about them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lungct.dicom_read import read_chest, scan_folder, select_series
from lungct.records import CtVolume, Lobe, MaskArray
from lungct.records.orientation import canonical_volume
from lungct_research.datasets.volumes import (
    read_anatomy,
    read_grey_chest,
    read_nifti,
    read_real_chest,
    read_split,
)
from lungct_research.synthesis.chest import make_chest
from lungct_research.synthesis.hosts import PHANTOM_PATTERNS
from lungct_research.synthesis.lesions import Host, Pattern, add_infection
from lungct_research.synthesis.phantom.thorax import make_thorax

ANATOMY_SPACING_MM = (1.5, 1.5, 1.5)
PHANTOM_SPACING_MM = (2.0, 1.4, 1.4)
PHANTOM_SEEDS = {"test": range(900_000, 900_006), "validation": range(800_000, 800_003)}
"""Seeds that no training uses."""

MACHINE_REFERENCE = "lidc-0001"
LOBES_OF_LABELS = {
    "LUL": Lobe.LEFT_UPPER,
    "LLL": Lobe.LEFT_LOWER,
    "RUL": Lobe.RIGHT_UPPER,
    "RML": Lobe.RIGHT_MIDDLE,
    "RLL": Lobe.RIGHT_LOWER,
}

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LobeCase:
    """A chest and its true lobes.

    Attributes:
        name: of the case.
        volume: canonical.
        lobes: on the volume's grid, :attr:`Lobe.label`.
    """

    name: str
    volume: CtVolume
    lobes: MaskArray


def anatomies(data_dir: Path, part: str, *, infected: bool) -> Iterator[LobeCase]:
    """Synthetic chests around the expert lobes of one part of the split."""
    for name in read_split("anatomies")[part]:
        rng = np.random.default_rng([int(name), int(infected)])
        chest = make_chest(read_anatomy(data_dir, name), rng, ANATOMY_SPACING_MM)
        volume_hu = chest.volume_hu
        if infected:
            host = Host(volume_hu, chest.lobes, chest.airways, chest.spacing_mm)
            volume_hu = add_infection(host, rng, list(Pattern)[int(name) % len(Pattern)]).volume_hu
        yield LobeCase(name, canonical_volume(volume_hu, chest.spacing_mm), chest.lobes)


def phantoms(part: str) -> Iterator[LobeCase]:
    """Analytic thoraces of one part: ``test`` or ``validation``."""
    for seed in PHANTOM_SEEDS[part]:
        pattern = PHANTOM_PATTERNS[seed % len(PHANTOM_PATTERNS)]
        phantom = make_thorax(seed, PHANTOM_SPACING_MM, pattern=pattern)
        yield LobeCase(str(seed), canonical_volume(phantom.volume_hu, PHANTOM_SPACING_MM), phantom.lobes)


def machine_reference(data_dir: Path) -> LobeCase:
    """A real chest with the lobes another segmenter drew: a smoke test, no expert truth."""
    volume_hu, spacing_mm = read_real_chest(data_dir, MACHINE_REFERENCE)
    lobes, _ = read_nifti(data_dir / "lobes" / f"{MACHINE_REFERENCE}_lobes.nii.gz")
    return LobeCase(MACHINE_REFERENCE, canonical_volume(volume_hu, spacing_mm), lobes.astype(np.uint8))


def expert_covid(data_dir: Path) -> Iterator[tuple[str, CtVolume, MaskArray]]:
    """COVID-19 chests with an expert's mask, 1 opacity and 2 other lung."""
    for path in sorted((data_dir / "covid_grey").glob("*_seg.nii.gz")):
        name = path.name.removesuffix("_seg.nii.gz")
        volume_hu, mask, spacing_mm = read_grey_chest(data_dir, name)
        yield name, canonical_volume(volume_hu, spacing_mm), mask


def labelled_slices(data_dir: Path) -> Iterator[tuple[str, CtVolume, dict[Lobe, BoolArray]]]:
    """Real studies and, for each lobe, whether it is infected on a slice; caudal slices first."""
    labels = json.loads((data_dir / "dicom" / "labels.json").read_text(encoding="utf-8"))
    for name, known in labels.items():
        infected = {
            LOBES_OF_LABELS[lobe]: np.array(cranial_first, bool)[::-1]
            for lobe, cranial_first in known["lobe_infected"].items()
        }
        yield name, read_study(data_dir / "dicom" / name), infected


def read_study(folder: Path) -> CtVolume:
    """The volume of the series that the application would choose."""
    return read_chest(select_series(scan_folder(folder))).volume
