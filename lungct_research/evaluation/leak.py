"""Measure of what is called lung and is solid and far from any air, on chests without an expert's drawing.

In a chest without consolidation or mass all of it is liver, spleen, stomach, aorta or chest wall. The same is
asked of the chest with its diaphragm raised, since the lungs of patients who breathe in badly are short.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lungct.anatomy.solid_lung import find_solid_lung
from lungct.errors import NoLungError
from lungct.records import CtVolume, Lobe
from lungct.records.orientation import canonical_volume
from lungct_research.datasets.ct_files import read_ct
from lungct_research.evaluation.lobes import Segmenter, load_segmenter
from lungct_research.synthesis.diaphragm import raise_diaphragm
from lungct_research.synthesis.hosts import threshold_lungs


@dataclass(frozen=True)
class Leak:
    """Solid and far lung of one chest, by lobe, with the halves of its diaphragm raised so far."""

    chest: str
    left_mm: float
    right_mm: float
    lobe_ml: Mapping[Lobe, float]

    @property
    def total_ml(self) -> float:
        """Solid and far lung of all lobes."""
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
    chest: str, volume: CtVolume, segment: Segmenter, rises_mm: Sequence[float] = ()
) -> Iterator[Leak]:
    """Measure a chest as it is, then with the left and with the right half of its diaphragm raised.

    Args:
        chest: its name.
        volume: canonical.
        segment: what is measured; a chest in which it finds no lungs has no leak.
        rises_mm: how far the diaphragm is raised.
    """
    raised = [*((mm, 0.0) for mm in rises_mm), *((0.0, mm) for mm in rises_mm)]
    yield Leak(chest, 0.0, 0.0, _measure_solid_ml(volume, segment))
    if not raised:
        return
    lungs = threshold_lungs(volume.volume_hu.astype("float32"), volume.spacing_mm)[0]
    for left_mm, right_mm in raised:
        hu = raise_diaphragm(volume.volume_hu, lungs, volume.spacing_mm, left_mm, right_mm)
        shown = canonical_volume(hu, volume.spacing_mm)
        yield Leak(chest, left_mm, right_mm, _measure_solid_ml(shown, segment))


def _measure_solid_ml(volume: CtVolume, segment: Segmenter) -> Mapping[Lobe, float]:
    try:
        return find_solid_lung(volume, segment(volume)).lobe_ml
    except NoLungError:
        return dict.fromkeys(Lobe, 0.0)


def describe(leak: Leak) -> str:
    """Return one line of a table: chest, rises, millilitres by lobe and in all."""
    lobes = "  ".join(f"{leak.lobe_ml[lobe]:6.0f}" for lobe in Lobe)
    return f"{leak.chest:<20} {leak.left_mm:4.0f} {leak.right_mm:4.0f}  {lobes}  {leak.total_ml:6.0f}"


def run(data: Path, models: Path, rises_mm: Sequence[float] = ()) -> None:
    """Print a line a chest and rise of the diaphragm, then all of them as JSON."""
    segment = load_segmenter(models)
    names = "  ".join(f"{lobe:>6.6}" for lobe in Lobe)
    print(f"{'chest':<20} left right  {names}     all   (mL, rises in mm)")
    measured = []
    for name, volume in find_chests(data):
        for leak in measure_leak(name, volume, lambda ct: segment(ct).lobes, rises_mm):
            print(describe(leak), flush=True)
            measured.append(asdict(leak) | {"total_ml": leak.total_ml})
    print(json.dumps(measured))
