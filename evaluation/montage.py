"""Pictures to look at: lobes drawn on chests nobody trained on, ``python -m evaluation.montage --out DIR``.

A picture a case: axial, coronal and sagittal slices in the lung window, below them the same with the borders
of the lobes found.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from evaluation import cases
from lungct.anatomy.lungs import segment_lobes
from lungct.geometry import canonical_volume
from lungct.inference.device import keep_freed_memory
from lungct.inference.weights import load_model
from lungct.networks import LobeUNet
from lungct.records import CtVolume, Lobe, MaskArray
from lungct.report.pictures import LOBE_RGB, grey_levels
from lungct.report.slices import inner_pixels
from training.volumes import read_real_chest

TILE_PIXELS = 260
AXIAL_AT, CORONAL_AT, SAGITTAL_AT = (0.25, 0.45, 0.65, 0.85), (0.35, 0.55), (0.2, 0.33, 0.67, 0.8)
"""Where slices are taken, as shares of the lungs' extent."""


def real_chests(data_dir: Path) -> Iterator[tuple[str, CtVolume]]:
    """Every real CT of the data folder."""
    for path in sorted((data_dir / "no_infection").glob("*.nii.gz")):
        name = path.name.removesuffix(".nii.gz")
        yield name, canonical_volume(*read_real_chest(data_dir, name))
    for name, volume, _ in cases.expert_covid(data_dir):
        yield name, volume
    for folder in sorted(path for path in (data_dir / "dicom").iterdir() if path.is_dir()):
        yield folder.name, cases.read_study(folder)


def montage(volume: CtVolume, lobes: MaskArray) -> Image.Image:
    """Two rows of tiles: slices of a volume, and the same with the borders of its lobes."""
    grey = grey_levels(volume.volume_hu)
    columns = []
    for axis, places in enumerate((AXIAL_AT, CORONAL_AT, SAGITTAL_AT)):
        extent = np.flatnonzero((lobes > 0).any(axis=tuple({0, 1, 2} - {axis})))
        first, last = (extent[0], extent[-1]) if extent.size else (0, lobes.shape[axis] - 1)
        spacing_mm = [mm for k, mm in enumerate(volume.spacing_mm) if k != axis]
        for place in places:
            index = round(first + place * (last - first))
            columns.append(
                _tiles(grey.take(index, axis), lobes.take(index, axis), spacing_mm, upright=axis > 0)
            )
    return Image.fromarray(np.hstack(columns))


def _tiles(grey: np.ndarray, labels: np.ndarray, spacing_mm: list[float], *, upright: bool) -> np.ndarray:
    """A slice above the same slice with borders, ``[2 tile, tile, 3]``; cranial is up."""
    if upright:
        grey, labels = grey[::-1], labels[::-1]
    size_mm = [n * mm for n, mm in zip(grey.shape, spacing_mm, strict=True)]
    height, width = (round(TILE_PIXELS * mm / max(size_mm)) for mm in size_mm)
    plain = np.array(Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR))
    drawn = np.array(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
    plain = np.repeat(plain[..., None], 3, axis=2)
    outlined = plain.copy()
    for lobe in Lobe:
        inside = drawn == lobe.label
        outlined[inside & ~inner_pixels(inside)] = LOBE_RGB[lobe]
    tile = np.zeros((2 * TILE_PIXELS, TILE_PIXELS, 3), np.uint8)
    tile[:height, :width], tile[TILE_PIXELS : TILE_PIXELS + height, :width] = plain, outlined
    return tile


def main() -> None:
    """Write ``NAME.png`` for every case, or for those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="cases; all where none is named")
    parser.add_argument("--data", type=Path, default=os.environ.get("LUNGCT_REAL_CT"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("name the data folder with --data or LUNGCT_REAL_CT")
    keep_freed_memory()
    model = load_model(arguments.models, "lungs", LobeUNet, torch.device("cpu"))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, volume in real_chests(Path(arguments.data)):
        if not arguments.names or name in arguments.names:
            montage(volume, segment_lobes(volume, model).lobes).save(arguments.out / f"{name}.png")
            print(name, flush=True)


if __name__ == "__main__":
    main()
