"""Chests to paint infections into: real ones without infection, synthetic ones around expert lobes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lungct.anatomy.trachea import find_trachea
from lungct_research.datasets.arrays import BoolArray, FloatArray, Spacing
from lungct_research.datasets.disease import INFECTIONS, Disease
from lungct_research.datasets.volumes import read_anatomy, read_real_chest
from lungct_research.synthesis.chest import EFFUSION_SHARE, make_chest
from lungct_research.synthesis.confounders import CONFOUNDERS
from lungct_research.synthesis.fields import blur, grid_shape, resize, signed_depth_mm
from lungct_research.synthesis.lesions import Host
from lungct_research.synthesis.scanner import ANY_PROTOCOL, Protocol

HOST_SPACING_MM = (3.0, 1.25, 1.25)
"""Spacing of hosts whose slices the opacity network sees."""

OUTSIDE_HU = -1040.0
LUNG_BELOW_HU = -500
LUMEN_BELOW_HU = -930
LUNG_AT_LEAST_ML = 150.0
SMOOTHING_MM = 1.5
SOLID_ABOVE_HU = -300
"""Limit between fat and lung that is partly filled; own decision."""

PHANTOM_DISEASES = (Disease.NO_INFECTION, *INFECTIONS)
"""Diseases that phantoms have in turn, by their seeds."""


def real_host(data_dir: Path, name: str, spacing_mm: Spacing) -> Host:
    """Read a real chest without infection on about the wanted grid; its lungs carry label 1."""
    volume_hu, spacing_mm = resample_hu(*read_real_chest(data_dir, name), spacing_mm)
    lungs, near_airways = threshold_lungs(volume_hu, spacing_mm)
    return Host(volume_hu, lungs.astype(np.uint8), near_airways, spacing_mm)


def synthetic_host(
    data_dir: Path,
    anatomy: str,
    rng: np.random.Generator,
    spacing_mm: Spacing,
    protocol: Protocol = ANY_PROTOCOL,
    effusion_share: float = EFFUSION_SHARE,
) -> Host:
    """Make a synthetic chest around an expert anatomy, its lobes labelled."""
    chest = make_chest(read_anatomy(data_dir, anatomy), rng, spacing_mm, protocol, effusion_share)
    return Host(chest.volume_hu, chest.lobes, chest.airways, chest.spacing_mm)


def with_confounder(host: Host, rng: np.random.Generator) -> Host:
    """Return the host, now and then with confounders; lungs and airways stay as they are."""
    for add, share in CONFOUNDERS.items():
        if rng.random() < share:
            host = Host(add(host, rng), host.lungs, host.lumen, host.spacing_mm)
    return host


def square(volume: np.ndarray, fill: float) -> np.ndarray:
    """Pad rows or columns on both sides until slices are square, as a scanner's field of view is."""
    side = max(volume.shape[1:])
    pads = [(0, 0), *(((side - n) // 2, side - n - (side - n) // 2) for n in volume.shape[1:])]
    return np.pad(volume, pads, constant_values=fill)


def resample_hu(
    volume: npt.NDArray[np.generic], spacing_mm: Spacing, wanted_mm: Spacing
) -> tuple[FloatArray, Spacing]:
    """Average a volume over voxels of about the wanted spacing; return it with its exact spacing."""
    resampled = resize(volume, grid_shape(volume.shape, spacing_mm, wanted_mm), "area")
    slice_mm, row_mm, column_mm = (
        np.asarray(volume.shape) * np.asarray(spacing_mm) / np.asarray(resampled.shape)
    )
    return resampled, (float(slice_mm), float(row_mm), float(column_mm))


def threshold_lungs(volume_hu: FloatArray, spacing_mm: Spacing) -> tuple[BoolArray, BoolArray]:
    """Find the lungs of a chest without infection by threshold, and the large airways, which are not lung.

    Air that does not touch the image border and is large enough is lung; trachea and main bronchi are the
    lumen component that reaches highest near the midline, and what has the shape of a trachea; vessels inside
    the lungs are closed.

    Args:
        volume_hu: ``[slices, rows, columns]``, axes S, P, L.
        spacing_mm: along slices, rows, columns.

    Returns:
        Lung mask and airway mask, both of the volume's shape.
    """
    smooth = blur(volume_hu, SMOOTHING_MM, spacing_mm)
    airways = _trachea(smooth, spacing_mm)
    near_airways = signed_depth_mm(airways, spacing_mm) > -3.0
    air = (smooth < LUNG_BELOW_HU) & ~near_airways
    parts, _ = ndimage.label(air)
    ml = np.bincount(parts.ravel()) * float(np.prod(spacing_mm)) / 1000
    kept = ml >= LUNG_AT_LEAST_ML
    kept[0] = False
    kept[_touching_sides(parts)] = False
    lungs = kept[parts]
    closed = signed_depth_mm(signed_depth_mm(lungs, spacing_mm) > -5.0, spacing_mm) > 5.0
    lungs = (lungs | (closed & ~near_airways)) & ~airways
    trachea = find_trachea(volume_hu, lungs, spacing_mm) if lungs.any() else None
    if trachea is not None:
        near_airways = near_airways | (signed_depth_mm(trachea, spacing_mm) > -3.0)
        lungs &= ~near_airways
    return lungs, near_airways


def solid_above_lung(volume_hu: FloatArray, lungs: BoolArray) -> BoolArray:
    """Return solid tissue with lung below it, up to the apices: in a chest with a mass it may be lung.

    What has no lung below it, the diaphragm and all that bears it, is never returned.

    Args:
        volume_hu: ``[slices, rows, columns]``, axes S, P, L.
        lungs: mask of the same shape, not empty.
    """
    with_lung_below = np.maximum.accumulate(lungs, axis=0)
    apex = np.flatnonzero(lungs.any(axis=(1, 2)))[-1] + 1
    solid: BoolArray = with_lung_below & ~lungs & (volume_hu > SOLID_ABOVE_HU)
    solid[apex:] = False
    return solid


def _touching_sides(parts: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    sides = (parts[:, 0], parts[:, -1], parts[:, :, 0], parts[:, :, -1])
    return np.unique(np.concatenate([side.ravel() for side in sides]))


def _trachea(smooth_hu: FloatArray, spacing_mm: Spacing) -> BoolArray:
    """Mark the lumen of 8 to 120 ml within 40 mm of the midline that reaches the highest slice."""
    lumen = smooth_hu < LUMEN_BELOW_HU
    parts, n = ndimage.label(lumen)
    if not n:
        return lumen
    ml = np.bincount(parts.ravel()) * float(np.prod(spacing_mm)) / 1000
    boxes = ndimage.find_objects(parts)
    middle = smooth_hu.shape[2] / 2
    outside = set(_touching_sides(parts).tolist())
    best, highest = 0, -1
    for index, box in enumerate(boxes, start=1):
        off_mm = abs((box[2].start + box[2].stop) / 2 - middle) * spacing_mm[2]
        if 8 <= ml[index] <= 120 and off_mm < 40 and index not in outside and box[0].stop > highest:
            best, highest = index, box[0].stop
    return parts == best if best else np.zeros_like(lumen)
