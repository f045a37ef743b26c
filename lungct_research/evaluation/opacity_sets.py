"""Public data sets to measure opacities on, each read in the layout in which it is published.

None of them is used in training or for choosing anything; of the painted chests, the anatomies are not.
Every set takes the folder of the data and yields :class:`~lungct_research.datasets.case.Case`; errors name
the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from lungct_research.datasets import sets
from lungct_research.datasets.case import Case
from lungct_research.evaluation.painted import painted, painted_kinds

SETS: dict[str, Callable[[Path], Iterator[Case]]] = {
    "medseg": sets.medseg,
    "no_infection": sets.no_infection,
    "labelled_studies": sets.labelled_studies,
    "painted": painted,
    "painted_kinds": painted_kinds,
    "covid_19_ct_seg": sets.covid_19_ct_seg,
    "mosmed": sets.mosmed,
    "mosmed_ct_0": sets.mosmed_ct_0,
    "covid_ct_md": sets.covid_ct_md,
    "covid_ct_md_normal": sets.covid_ct_md_normal,
    "ricord_1a": sets.ricord_1a,
    "ricord_1b": sets.ricord_1b,
}
"""By the name that the command line takes."""
