"""Kinds, densities, borders and sizes of lesions, with the sources of their distributions.

Kinds follow the Fleischner Society's terms (Hansell et al. 2008, Radiology 246: 697-722, "glossary" below).
Where the literature gives no distribution, the range is an own decision and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from lungct_research.datasets.densities import DENSE_HU, HAZE_HU
from lungct_research.datasets.disease import Disease


class Kind(StrEnum):
    """Look of a lesion; where lesions overlap, the later kind of this list covers the earlier."""

    GROUND_GLASS = "ground_glass"
    CRAZY_PAVING = "crazy_paving"
    REVERSED_HALO = "reversed_halo"
    BAND = "band"
    TREE_IN_BUD = "tree_in_bud"
    NODULE = "nodule"
    CONSOLIDATION = "consolidation"

    @property
    def label(self) -> int:
        """Return the value of the kind in label maps: from 1 in the order of this enumeration."""
        return list(Kind).index(self) + 1


SEPTA_KNOT_MM = (5.0, 9.0)
SEPTA_HALF_WIDTH = 0.15
"""Lines of crazy paving outline secondary lobules of 10 to 25 mm (glossary): level lines of a random field
whose knots are half that far apart. Density is an own decision."""

RING_MM = (2.0, 6.0)
RING_COMPLETE = 0.75
"""Share of a reversed halo's rim that is consolidated: a crescent (Kim et al. 2003, AJR 180: 1251-1254) of
more than three quarters of a circle or a ring, at least 2 mm thick (Radiopaedia, "Reversed halo sign")."""

BAND_MM = (1.5, 4.0)
BAND_LENGTH_MM = (15.0, 50.0)
BAND_DEPTH_MM = (3.0, 10.0)
"""Parenchymal bands are 1 to 3 mm thick and up to 50 mm long (glossary); here a little thicker at the most,
because thinner ones vanish in slices of 3 mm. How far lines lie from the pleura is an own decision."""

NODULE_MM = (7.0, 0.35, 3.0, 20.0)
"""Median, logarithmic deviation, smallest and largest diameter: an acinus measures 6 to 10 mm and, when
filled, looks like a nodule (glossary); the spread is an own decision."""

BUD_MM = (2.0, 4.0)
TWIG_MM = (1.2, 2.0)
TREE_REACH_MM = (8.0, 20.0)
N_BUDS = (6, 18)
"""Tree-in-bud: twigs that end in nodules within one or two secondary lobules; numbers are an own decision."""

HARD_BORDER_MM = (0.8, 2.5)
SOFT_BORDER_MM = (3.0, 12.0)
"""Widths over which sharp and soft borders fade; own decision."""


class Frequency(NamedTuple):
    """Frequency of a kind of lesion, and of sharp borders.

    Attributes:
        covid19, other_infection: share of patients in whom it is seen.
        weight: its share among the lesions of one patient, beside the weights of the other kinds.
        hard: share of its lesions with a sharp border; small kinds would vanish in a soft one.
    """

    covid19: float
    other_infection: float
    weight: float
    hard: float


FREQUENCIES = {
    Kind.GROUND_GLASS: Frequency(covid19=0.91, other_infection=0.68, weight=3.0, hard=0.25),
    Kind.CRAZY_PAVING: Frequency(covid19=0.43, other_infection=0.1, weight=2.0, hard=0.4),
    Kind.REVERSED_HALO: Frequency(covid19=0.11, other_infection=0.01, weight=0.7, hard=0.6),
    Kind.BAND: Frequency(covid19=0.53, other_infection=0.15, weight=1.0, hard=1.0),
    Kind.TREE_IN_BUD: Frequency(covid19=0.02, other_infection=0.3, weight=1.0, hard=1.0),
    Kind.NODULE: Frequency(covid19=0.1, other_infection=0.35, weight=1.5, hard=0.6),
    Kind.CONSOLIDATION: Frequency(covid19=0.35, other_infection=0.7, weight=2.0, hard=0.5),
}
"""Ground-glass: Bai et al. 2020. Of COVID-19, septal thickening, bands and consolidation on ground-glass: 43,
53 and 35 % of 2655 patients (meta-analysis PMC8119228, 2021); crazy paving stands for all septal thickening,
alone it is seen in 15 % (Bao et al. 2020, J. Am. Coll. Radiol. 17: 701-709).

All other numbers are an own decision. For other infections they are in the order of: consolidation in 85 % of
35 bacterial pneumonias (Reittner et al. 2003, Eur. Radiol. 13: 515-521), centrilobular nodules in 39 % of 88
pneumococcal and 35 % of 23 influenza pneumonias (PMC4273967), tree-in-bud in 24 % of 92 influenza pneumonias
and in none of 13 with COVID-19 (Eur. Radiol. 2020, 30: 4910-4917)."""


@dataclass(frozen=True)
class Lesion:
    """Look of one lesion.

    Attributes:
        border_mm: width over which it fades.
        raise_to_hu: density of normal parenchyma once it is fully affected.
        is_additive: adds the same density everywhere until nothing is left to fill, so vessels look thicker,
            as they do in 58 % of patients with COVID-19 (Bai et al. 2020, Radiology 296: E46-E54). Otherwise
            it takes away a share of the air, so half-aerated edges of vessels change half as much.
        ring_mm: thickness of the dense rim of a reversed halo.
    """

    kind: Kind
    border_mm: float
    raise_to_hu: float
    is_additive: bool = False
    ring_mm: float = 0.0


def draw_lesion(rng: np.random.Generator, kind: Kind) -> Lesion:
    """Draw density, border and blending of a lesion of one kind."""
    border = HARD_BORDER_MM if rng.random() < FREQUENCIES[kind].hard else SOFT_BORDER_MM
    border_mm = float(rng.uniform(*border))
    is_additive = bool(rng.random() < 0.5)
    if kind in (Kind.GROUND_GLASS, Kind.CRAZY_PAVING):
        return Lesion(kind, border_mm, float(rng.triangular(*HAZE_HU)), is_additive)
    if kind is Kind.REVERSED_HALO:
        haze_hu = float(rng.triangular(*HAZE_HU))
        return Lesion(kind, border_mm, haze_hu, is_additive, float(rng.uniform(*RING_MM)))
    if kind is Kind.NODULE:
        border_mm = min(border_mm, NODULE_MM[2])
    return Lesion(kind, border_mm, float(rng.uniform(*DENSE_HU)), is_additive)


def draw_kinds(rng: np.random.Generator, disease: Disease, n: int) -> list[Kind]:
    """Draw the kinds of ``n`` lesions of one patient: first those that occur, then one for each lesion."""
    is_covid19 = disease is Disease.COVID19
    present = [
        kind
        for kind, often in FREQUENCIES.items()
        if rng.random() < (often.covid19 if is_covid19 else often.other_infection)
    ]
    present = present or [Kind.GROUND_GLASS]
    shares = np.array([FREQUENCIES[kind].weight for kind in present])
    return [present[i] for i in rng.choice(len(present), n, p=shares / shares.sum())]
