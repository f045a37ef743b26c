"""How much of what is called lung is solid and far from any air, on chests without an expert's drawing.

In a chest without consolidation or mass all of it is liver, spleen, stomach, aorta or chest wall. The same is
asked of the chest with its diaphragm raised, since the lungs of patients who breathe in badly are short.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from lungct.anatomy.lungs import segment_lobes
from lungct.anatomy.solid_lung import find_solid_lung
from lungct.errors import NoLungError
from lungct.networks import LobeUNet
from lungct.networks.device import keep_freed_memory
from lungct.networks.weights import load_model
from lungct.records import CtVolume, Lobe, MaskArray
from lungct.records.orientation import canonical_volume
from lungct_research.datasets.ct_files import read_ct
from lungct_research.synthesis.diaphragm import raise_diaphragm
from lungct_research.synthesis.hosts import threshold_lungs

Segmenter = Callable[[CtVolume], MaskArray]
"""Lobes of a canonical volume on its grid."""


@dataclass(frozen=True)
class Leak:
    """Solid and far lung of one chest.

    Attributes:
        chest: its name.
        left_mm: how far the left half of the diaphragm was raised.
        right_mm: how far the right half was.
        lobe_ml: solid and far, by lobe.
    """

    chest: str
    left_mm: float
    right_mm: float
    lobe_ml: Mapping[Lobe, float]

    @property
    def total_ml(self) -> float:
        """Of all lobes."""
        return sum(self.lobe_ml.values())


def find_chests(folder: Path) -> Iterator[tuple[str, CtVolume]]:
    """Read every chest of a folder: NIfTI files, and folders of DICOM files.

    Args:
        folder: searched with its sub-folders; files named ``*_seg`` or ``*_lobes`` are passed over.
    """
    for path in sorted(folder.rglob("*.nii.gz")):
        name = path.name.removesuffix(".nii.gz")
        if not name.endswith(("_seg", "_lobes")):
            yield name, read_ct(path)[0]
    for study in sorted({path.parent for path in folder.rglob("*.dcm")}):
        yield study.name, read_ct(study)[0]


def measure_leak(
    chest: str, volume: CtVolume, segment: Segmenter, rises_mm: Iterable[float] = ()
) -> Iterator[Leak]:
    """Measure a chest as it is, then with the left and with the right half of its diaphragm raised.

    Args:
        chest: its name.
        volume: canonical.
        segment: what is measured; a chest in which it finds no lungs has no leak.
        rises_mm: how far the diaphragm is raised.
    """
    rises = list(rises_mm)
    raised = [(0.0, 0.0), *((mm, 0.0) for mm in rises), *((0.0, mm) for mm in rises)]
    lungs = threshold_lungs(volume.volume_hu.astype("float32"), volume.spacing_mm)[0] if rises else None
    for left_mm, right_mm in raised:
        shown = volume
        if lungs is not None and (left_mm or right_mm):
            hu = raise_diaphragm(volume.volume_hu, lungs, volume.spacing_mm, left_mm, right_mm)
            shown = canonical_volume(hu, volume.spacing_mm)
        try:
            lobe_ml = find_solid_lung(shown, segment(shown)).lobe_ml
        except NoLungError:
            lobe_ml = dict.fromkeys(Lobe, 0.0)
        yield Leak(chest, left_mm, right_mm, lobe_ml)


def describe(leak: Leak) -> str:
    """Return one line of a table: chest, rises, millilitres by lobe and in all."""
    lobes = "  ".join(f"{leak.lobe_ml[lobe]:6.0f}" for lobe in Lobe)
    return f"{leak.chest:<20} {leak.left_mm:4.0f} {leak.right_mm:4.0f}  {lobes}  {leak.total_ml:6.0f}"


def run(data: Path, models: Path, rises_mm: Iterable[float] = ()) -> None:
    """Print a line a chest and rise of the diaphragm, then all of them as JSON."""
    keep_freed_memory()
    model = load_model(models, "lungs", LobeUNet, torch.device("cpu"))
    print(
        f"{'chest':<20} left right  {'  '.join(f'{lobe:>6.6}' for lobe in Lobe)}     all   (mL, rises in mm)"
    )
    measured = []
    for name, volume in find_chests(data):
        for leak in measure_leak(name, volume, lambda ct: segment_lobes(ct, model).lobes, rises_mm):
            print(describe(leak), flush=True)
            measured.append(asdict(leak) | {"total_ml": leak.total_ml})
    print(json.dumps(measured))
