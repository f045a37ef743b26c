"""How well airways and vessels of phantoms are found, over persons, voxels and kernels.

Sensitivity and precision of the vessels; of the airways Dice down to the segmental bronchi, the share of
what was found that lies beyond one voxel of the truth, and the sensitivity in each generation.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lungct.anatomy.airways import segment_airways
from lungct.anatomy.vessels import segment_vessels
from lungct.records import MaskArray
from lungct.records.orientation import canonical_volume
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.scanner import Kernel
from lungct_research.synthesis.phantom.thorax import DEFAULT_SPACING_MM, Phantom, make_thorax

MEDIUM_MM = (1.5, 1.0, 1.0)
PHANTOMS: list[tuple[int, tuple[float, float, float], Kernel, Disease]] = [
    (1, DEFAULT_SPACING_MM, "soft", Disease.COVID19),
    (1, DEFAULT_SPACING_MM, "standard", Disease.COVID19),
    (1, DEFAULT_SPACING_MM, "sharp", Disease.COVID19),
    (2, MEDIUM_MM, "soft", Disease.NO_INFECTION),
    (2, MEDIUM_MM, "standard", Disease.NO_INFECTION),
    (2, MEDIUM_MM, "sharp", Disease.NO_INFECTION),
    (3, DEFAULT_SPACING_MM, "standard", Disease.OTHER_INFECTION),
    (4, DEFAULT_SPACING_MM, "soft", Disease.COVID19),
    (4, DEFAULT_SPACING_MM, "sharp", Disease.COVID19),
    (5, MEDIUM_MM, "standard", Disease.OTHER_INFECTION),
    (6, DEFAULT_SPACING_MM, "standard", Disease.COVID19),
    (11, MEDIUM_MM, "sharp", Disease.COVID19),
    (12, DEFAULT_SPACING_MM, "standard", Disease.NO_INFECTION),
]
"""The second is the one of ``make demo``. Constants of the vessels were chosen on persons 1, 2 and 5."""

PLANE = (256, 256)
SEGMENTAL = 3
DEEPEST = 6


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
        what = f"{seed:>4}{spacing_mm[0]:>6} mm  {kernel:<9}"
        print(f"{what} | {vessel_figures(phantom, vessels)} | {airway_figures(phantom, airways)}", flush=True)


def vessel_figures(phantom: Phantom, found: MaskArray) -> str:
    """Sensitivity and precision."""
    both, n_true = np.count_nonzero(found & phantom.vessels), np.count_nonzero(phantom.vessels)
    return f"{both / n_true:>14.2f}{both / max(int(np.count_nonzero(found)), 1):>7.2f}"


def airway_figures(phantom: Phantom, found: MaskArray) -> str:
    """Dice down to the segmental bronchi, leak, and sensitivity in each generation."""
    truth, n_found = phantom.generations, int(np.count_nonzero(found))
    leak = np.count_nonzero(found[~ndimage.binary_dilation(truth >= 0, np.ones((3, 3, 3)))])
    shares = (np.count_nonzero(found[truth == g]) / np.count_nonzero(truth == g) for g in range(DEEPEST + 1))
    by_generation = "".join(f"{share:>6.2f}" for share in shares)
    dice = dice_down_to(phantom, found, SEGMENTAL)
    return f"{dice:>18.2f}{leak / max(n_found, 1):>6.3f} |         {by_generation}"


def dice_down_to(phantom: Phantom, found: MaskArray, generation: int) -> float:
    """Dice of the truth down to a generation and of what was found nearest to it."""
    nearest = ndimage.distance_transform_edt(
        phantom.generations < 0, phantom.spacing_mm, return_distances=False, return_indices=True
    )
    near = (found > 0) & (phantom.generations[tuple(nearest)] <= generation)
    truth = (phantom.generations >= 0) & (phantom.generations <= generation)
    return 2 * np.count_nonzero(near & truth) / (np.count_nonzero(near) + np.count_nonzero(truth))
