"""Pictures of the findings in chests that no training has seen.

A picture a case: axial, coronal and sagittal slices in the lung window; below them the same with the borders
of the lobes, then with those of airways and vessels; at the right the lungs in three dimensions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lungct.anatomy.tree import segment_tree
from lungct.records import BronchovascularTree, CtVolume, LungAnatomy
from lungct.report.pictures import LOBE_RGB, LUNG_RGB, outline, to_grey_levels
from lungct.report.rendering import render_lungs
from lungct_research.datasets.sets import medseg
from lungct_research.evaluation.leak import find_chests
from lungct_research.evaluation.lobes import load_segmenter

TILE_PIXELS = 260
LOBE_COLOURS = {lobe.label: rgb for lobe, rgb in LOBE_RGB.items()}
TREE_COLOURS = {1: LUNG_RGB, 2: (213, 94, 0)}
"""Airways and vessels; blue and vermilion of the Okabe-Ito palette."""

AXIAL_AT, CORONAL_AT, SAGITTAL_AT = (0.25, 0.45, 0.65, 0.85), (0.35, 0.55), (0.2, 0.33, 0.67, 0.8)
"""Where slices are taken, as shares of the lungs' extent."""


def read_chests(data_dir: Path) -> Iterator[tuple[str, CtVolume]]:
    """Read every real CT of the data folder, with its name."""
    yield from find_chests(data_dir / "no_infection")
    yield from ((case.name, case.volume) for case in medseg(data_dir))
    yield from find_chests(data_dir / "dicom")


def draw_montage(volume: CtVolume, anatomy: LungAnatomy, tree: BronchovascularTree) -> Image.Image:
    """Draw slices, below them the same with borders of lobes and with those of the tree; 3-D beside them."""
    grey, lobes = to_grey_levels(volume.volume_hu), anatomy.lobes
    drawn = ((lobes, LOBE_COLOURS), (tree.airways + 2 * tree.vessels, TREE_COLOURS))
    columns = []
    for axis, places in enumerate((AXIAL_AT, CORONAL_AT, SAGITTAL_AT)):
        extent = np.flatnonzero((lobes > 0).any(axis=tuple({0, 1, 2} - {axis})))
        first, last = (extent[0], extent[-1]) if extent.size else (0, lobes.shape[axis] - 1)
        spacing_mm = [mm for other, mm in enumerate(volume.spacing_mm) if other != axis]
        for place in places:
            index = round(first + place * (last - first))
            plain = _make_tile(
                grey.take(index, axis), spacing_mm, Image.Resampling.BILINEAR, upright=axis > 0
            )
            tiles = [np.repeat(plain[..., None], 3, axis=2)]
            for labels, colours in drawn:
                found = _make_tile(
                    labels.take(index, axis), spacing_mm, Image.Resampling.NEAREST, upright=axis > 0
                )
                outlined = tiles[0].copy()
                for label, rgb in colours.items():
                    outlined[outline(found == label)] = rgb
                tiles.append(outlined)
            columns.append(np.vstack(tiles))
    slices = np.hstack(columns)
    views = [
        view.resize((round(view.width * len(slices) / view.height), len(slices)))
        for view in render_lungs(volume, lobes, np.zeros_like(lobes), tree)
    ]
    return Image.fromarray(np.hstack([slices, *map(np.asarray, views)]))


def _make_tile(
    plane: np.ndarray, spacing_mm: Sequence[float], filtering: Image.Resampling, *, upright: bool
) -> np.ndarray:
    """Return a slice of grey levels or labels with square pixels, ``[tile, tile]``; cranial is up."""
    size_mm = np.multiply(plane.shape, spacing_mm)
    height, width = (round(TILE_PIXELS * mm / size_mm.max()) for mm in size_mm)
    tile = np.zeros((TILE_PIXELS, TILE_PIXELS), np.uint8)
    picture = Image.fromarray(plane[::-1] if upright else plane).resize((width, height), filtering)
    tile[:height, :width] = np.asarray(picture)
    return tile


def run(names: Collection[str], data_dir: Path, models: Path, out_dir: Path) -> None:
    """Write ``NAME.png`` for every chest, or for those named."""
    segment = load_segmenter(models)
    out_dir.mkdir(parents=True, exist_ok=True)
    for name, volume in read_chests(data_dir):
        if not names or name in names:
            anatomy = segment(volume)
            draw_montage(volume, anatomy, segment_tree(volume, anatomy)).save(out_dir / f"{name}.png")
            print(name, flush=True)
