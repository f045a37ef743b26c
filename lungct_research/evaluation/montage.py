"""Pictures of what is found in chests that nobody trained on.

A picture a case: axial, coronal and sagittal slices in the lung window; below them the same with the borders
of the lobes, then with those of airways and vessels; at the right the lungs in three dimensions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lungct.anatomy.lungs import segment_lobes
from lungct.anatomy.tree import segment_tree
from lungct.networks import LobeUNet
from lungct.networks.device import keep_freed_memory
from lungct.networks.weights import load_model
from lungct.records import BronchovascularTree, CtVolume, LungAnatomy, MaskArray
from lungct.records.orientation import canonical_volume
from lungct.report.pictures import LOBE_RGB, LUNG_RGB, to_grey_levels
from lungct.report.rendering import Structures, render_lungs
from lungct.report.slices import find_inner_pixels
from lungct_research.datasets.ct_files import read_ct
from lungct_research.datasets.sets import medseg
from lungct_research.datasets.volumes import read_real_chest

TILE_PIXELS = 260
LOBE_COLOURS = {lobe.label: rgb for lobe, rgb in LOBE_RGB.items()}
TREE_COLOURS = {1: LUNG_RGB, 2: (213, 94, 0)}
"""Airways and vessels; blue and vermilion of the Okabe-Ito palette."""

AXIAL_AT, CORONAL_AT, SAGITTAL_AT = (0.25, 0.45, 0.65, 0.85), (0.35, 0.55), (0.2, 0.33, 0.67, 0.8)
"""Where slices are taken, as shares of the lungs' extent."""


def real_chests(data_dir: Path) -> Iterator[tuple[str, CtVolume]]:
    """Every real CT of the data folder."""
    for path in sorted((data_dir / "no_infection").glob("*.nii.gz")):
        name = path.name.removesuffix(".nii.gz")
        yield name, canonical_volume(*read_real_chest(data_dir, name))
    for case in medseg(data_dir):
        yield case.name, case.volume
    for folder in sorted(path for path in (data_dir / "dicom").iterdir() if path.is_dir()):
        yield folder.name, read_ct(folder)[0]


def montage(volume: CtVolume, anatomy: LungAnatomy, tree: BronchovascularTree) -> Image.Image:
    """Slices, below them the same with borders of lobes and with those of the tree; 3-D beside them."""
    grey, lobes = to_grey_levels(volume.volume_hu), anatomy.lobes
    drawn = ((lobes, LOBE_COLOURS), (tree.airways + 2 * tree.vessels, TREE_COLOURS))
    columns = []
    for axis, places in enumerate((AXIAL_AT, CORONAL_AT, SAGITTAL_AT)):
        extent = np.flatnonzero((lobes > 0).any(axis=tuple({0, 1, 2} - {axis})))
        first, last = (extent[0], extent[-1]) if extent.size else (0, lobes.shape[axis] - 1)
        spacing_mm = [mm for k, mm in enumerate(volume.spacing_mm) if k != axis]
        for place in places:
            index = round(first + place * (last - first))
            plain = _tile(grey.take(index, axis), spacing_mm, upright=axis > 0)
            tiles = [np.repeat(plain[..., None], 3, axis=2)]
            for labels, colours in drawn:
                found = _tile(labels.take(index, axis), spacing_mm, upright=axis > 0, smooth=False)
                tiles.append(_outlined(tiles[0], found, colours))
            columns.append(np.vstack(tiles))
    return _beside(Image.fromarray(np.hstack(columns)), render_lungs(volume, _structures(lobes, tree)))


def _tile(plane: np.ndarray, spacing_mm: list[float], *, upright: bool, smooth: bool = True) -> np.ndarray:
    """A slice of grey levels or labels with square pixels, ``[tile, tile]``; cranial is up."""
    size_mm = [n * mm for n, mm in zip(plane.shape, spacing_mm, strict=True)]
    height, width = (round(TILE_PIXELS * mm / max(size_mm)) for mm in size_mm)
    way = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    tile = np.zeros((TILE_PIXELS, TILE_PIXELS), np.uint8)
    picture = Image.fromarray(plane[::-1] if upright else plane).resize((width, height), way)
    tile[:height, :width] = np.asarray(picture)
    return tile


def _outlined(tile: np.ndarray, labels: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> np.ndarray:
    outlined = tile.copy()
    for label, rgb in colours.items():
        inside = labels == label
        outlined[inside & ~find_inner_pixels(inside)] = rgb
    return outlined


def _structures(lobes: MaskArray, tree: BronchovascularTree) -> Structures:
    return Structures(lobes, np.zeros_like(lobes), tree.airways, tree.vessels)


def _beside(left: Image.Image, right: tuple[Image.Image, ...]) -> Image.Image:
    """Pictures side by side, those on the right squeezed to the height of the left one."""
    sized = [left, *(p.resize((round(p.width * left.height / p.height), left.height)) for p in right)]
    whole = Image.new("RGB", (sum(picture.width for picture in sized), left.height))
    place = 0
    for picture in sized:
        whole.paste(picture, (place, 0))
        place += picture.width
    return whole


def run(names: Collection[str], data_dir: Path, models: Path, out_dir: Path) -> None:
    """Write ``NAME.png`` for every case, or for those named."""
    keep_freed_memory()
    model = load_model(models, "lungs", LobeUNet, torch.device("cpu"))
    out_dir.mkdir(parents=True, exist_ok=True)
    for name, volume in real_chests(data_dir):
        if not names or name in names:
            anatomy = segment_lobes(volume, model)
            montage(volume, anatomy, segment_tree(volume, anatomy)).save(out_dir / f"{name}.png")
            print(name, flush=True)
