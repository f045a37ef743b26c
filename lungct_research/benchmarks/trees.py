"""Accuracy of airways and vessels found in phantoms, over persons, voxels and kernels.

Vessels are measured by sensitivity and precision; airways by Dice down to the segmental bronchi, by the leak
(the share of what was found that lies farther than one voxel from the truth) and by the sensitivity in each
generation.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lungct.anatomy.airways import segment_airways
from lungct.anatomy.vessels import segment_vessels
from lungct.records import MaskArray
from lungct.records.orientation import canonical_volume
from lungct_research.datasets.disease import Disease
from lungct_research.evaluation.agreement import dice
from lungct_research.synthesis.phantom.thorax import DEFAULT_SPACING_MM, Phantom, make_thorax
from lungct_research.synthesis.scanner import Kernel

MEDIUM_MM = (1.5, 1.0, 1.0)
COVID19, OTHER, NONE = Disease.COVID19, Disease.OTHER_INFECTION, Disease.NO_INFECTION
PHANTOMS: list[tuple[int, tuple[float, float, float], Kernel, Disease]] = [
    (1, DEFAULT_SPACING_MM, "soft", COVID19),
    (1, DEFAULT_SPACING_MM, "standard", COVID19),
    (1, DEFAULT_SPACING_MM, "sharp", COVID19),
    (2, MEDIUM_MM, "soft", NONE),
    (2, MEDIUM_MM, "standard", NONE),
    (2, MEDIUM_MM, "sharp", NONE),
    (3, DEFAULT_SPACING_MM, "standard", OTHER),
    (4, DEFAULT_SPACING_MM, "soft", COVID19),
    (4, DEFAULT_SPACING_MM, "sharp", COVID19),
    (5, MEDIUM_MM, "standard", OTHER),
    (6, DEFAULT_SPACING_MM, "standard", COVID19),
    (11, MEDIUM_MM, "sharp", COVID19),
    (12, DEFAULT_SPACING_MM, "standard", NONE),
]
"""The second is the one of ``make demo``. Constants of the vessels were chosen on persons 1, 2 and 5."""

PLANE = (256, 256)
SEGMENTAL = 3
DEEPEST = 6
"""Generation of the segmental bronchi, and the deepest one in the table."""


def run(n_slices: int | None = None) -> None:
    """Print the table; with ``n_slices`` of the first phantom only, in so many slices."""
    generations = "".join(f"{generation:>6}" for generation in range(DEEPEST + 1))
    print(
        f"seed  slices  kernel    | vessels: sens.  prec. | airways: Dice to 3  leak | sens. of{generations}"
    )
    for seed, spacing_mm, kernel, disease in PHANTOMS if n_slices is None else PHANTOMS[:1]:
        shape = None if n_slices is None else (n_slices, *PLANE)
        phantom = make_thorax(seed, spacing_mm, shape, disease=disease, kernel=kernel)
        volume = canonical_volume(phantom.volume_hu, spacing_mm)
        airways = segment_airways(volume, phantom.lobes)
        vessels = segment_vessels(volume, phantom.lobes, airways)
        sensitivity, precision = sensitivity_and_precision(vessels, phantom.vessels)
        print(
            f"{seed:>4}{spacing_mm[0]:>6} mm  {kernel:<9} | {sensitivity:>14.2f}{precision:>7.2f} | "
            f"{describe_airways(phantom, airways)}",
            flush=True,
        )


def sensitivity_and_precision(found: MaskArray, truth: MaskArray) -> tuple[float, float]:
    """Return the share of the true voxels that was found, and the share of the found ones that is true."""
    both = np.count_nonzero(found & truth)
    return both / np.count_nonzero(truth), both / max(int(np.count_nonzero(found)), 1)


def describe_airways(phantom: Phantom, found: MaskArray) -> str:
    """Return Dice down to the segmental bronchi, the leak, and the sensitivity in each generation."""
    truth = phantom.generations
    leak = np.count_nonzero(found[~ndimage.binary_dilation(truth >= 0, np.ones((3, 3, 3)))])
    shares = (np.count_nonzero(found[truth == g]) / np.count_nonzero(truth == g) for g in range(DEEPEST + 1))
    by_generation = "".join(f"{share:>6.2f}" for share in shares)
    leaked = leak / max(int(np.count_nonzero(found)), 1)
    return f"{dice_down_to(phantom, found, SEGMENTAL):>18.2f}{leaked:>6.3f} |         {by_generation}"


def dice_down_to(phantom: Phantom, found: MaskArray, generation: int) -> float:
    """Return the Dice of the airways down to a generation and of what was found nearest to them."""
    nearest = ndimage.distance_transform_edt(
        phantom.generations < 0, phantom.spacing_mm, return_distances=False, return_indices=True
    )
    near = (found > 0) & (phantom.generations[tuple(nearest)] <= generation)
    return dice(near, (phantom.generations >= 0) & (phantom.generations <= generation))
