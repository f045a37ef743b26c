"""Evaluation of the lungs and lobes that are found, and the shares that lobes hold of their lung."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lungct.anatomy.lungs import segment_lobes
from lungct.networks import LobeUNet
from lungct.networks.device import keep_freed_memory
from lungct.networks.weights import load_model
from lungct.records import LEFT_LOBES, CtVolume, Lobe, LungAnatomy, MaskArray
from lungct_research.datasets.case import Case, require_known
from lungct_research.datasets.sets import labelled_studies, medseg
from lungct_research.datasets.volumes import AIRWAY_BIT, read_anatomy, read_machine_reference, read_split
from lungct_research.evaluation import cases
from lungct_research.evaluation.agreement import dice

Segmenter = Callable[[CtVolume], MaskArray]
"""Labels the lobes of a canonical volume on its grid."""

NAMES = (*map(str, Lobe), "lungs")
WIDENED_BY = 0.25
"""Share of a range's width that is added on both sides: fifty patients do not hold the extremes. Own
decision."""


def load_segmenter(models: Path, device: torch.device | None = None) -> Callable[[CtVolume], LungAnatomy]:
    """Load the network that labels the lobes in the application, on the CPU unless another device is given.

    Raises:
        ModelError: its weights are missing or damaged.
    """
    keep_freed_memory()
    model = load_model(models, "lungs", LobeUNet, device or torch.device("cpu"))
    return lambda volume: segment_lobes(volume, model)


def lobe_dice(found: MaskArray, true: MaskArray) -> dict[str, float]:
    """Return the Dice of every lobe and of both lungs together."""
    pairs = [(found == lobe.label, true == lobe.label) for lobe in Lobe] + [(found > 0, true > 0)]
    return {name: dice(*pair) for name, pair in zip(NAMES, pairs, strict=True)}


def measure_known_lobes(chests: Iterable[Case], segment: Segmenter) -> dict[str, Any]:
    """Measure mean Dice, the worst case, and the mean relative volume error, each for lobes and lungs."""
    rows, errors, names = [], [], []
    for case in chests:
        found, true = segment(case.volume), require_known(case.lobes, case.name, "lobes")
        rows.append(list(lobe_dice(found, true).values()))
        sizes = [np.bincount(labels.ravel(), minlength=6)[1:] for labels in (found, true)]
        n_found, n_true = (np.append(size, size.sum()) for size in sizes)
        errors.append(np.abs(n_found / np.maximum(n_true, 1) - 1))
        names.append(case.name)
        print(f"  {case.name:<12}", *(f"{value:.3f}" for value in rows[-1]), flush=True)
    table = np.array(rows)
    of_lobes = table[:, : len(Lobe)]
    worst = int(of_lobes.mean(axis=1).argmin())
    return {
        "dice_mean": _by_name(table.mean(axis=0)),
        "dice_mean_of_lobes": round(float(of_lobes.mean()), 3),
        "dice_worst_case": {"case": names[worst], **_by_name(table[worst])},
        "volume_error_mean_abs": _by_name(np.mean(errors, axis=0)),
        "n": len(rows),
    }


def _by_name(values: np.ndarray) -> dict[str, float]:
    return dict(zip(NAMES, np.round(values, 3).tolist(), strict=True))


def measure_expert_lungs(chests: Iterable[Case], segment: Segmenter) -> dict[str, Any]:
    """Measure recall and Dice of the lungs on COVID-19 chests, and recall inside the expert's opacities."""
    measured = {}
    for case in chests:
        found = segment(case.volume) > 0
        lung = require_known(case.lungs, case.name, "lungs") > 0
        opacity = require_known(case.opacity, case.name, "opacities") > 0
        measured[case.name] = {
            "recall": round(float(found[lung].mean()), 3),
            "dice": round(dice(found, lung), 3),
            "recall_in_opacities": round(float(found[opacity].mean()), 3),
        }
        print(f"  {case.name:<12}", *measured[case.name].values(), flush=True)
    return measured


def measure_labelled_slices(chests: Iterable[Case], segment: Segmenter) -> dict[str, Any]:
    """Measure on how many of the slices where a lobe is known to be infected that lobe was found at all."""
    measured = {}
    for case in chests:
        infected = require_known(case.lobe_infected, case.name, "infected lobes")
        lobes = segment(case.volume)
        present = np.concatenate(
            [(lobes[slices] == lobe.label).any(axis=(1, 2)) for lobe, slices in infected.items()]
        )
        measured[case.name] = {"present": round(float(present.mean()), 3), "n": len(present)}
        print(f"  {case.name:<12}", *measured[case.name].values(), flush=True)
    return measured


def evaluate(data_dir: Path, segment: Segmenter, part: str = "test") -> dict[str, Any]:
    """Measure all groups of cases; prints a line a case.

    Args:
        data_dir: holds the anatomies and the real chests.
        segment: what is measured.
        part: ``test``, or ``validation``: synthetic chests and phantoms only, for choices to be made on.
    """
    healthy, infected = (cases.anatomies(data_dir, part, infected=infected) for infected in (False, True))
    groups: dict[str, tuple[Callable[[Iterable[Case], Segmenter], dict[str, Any]], Iterable[Case]]] = {
        f"anatomies_{part}": (measure_known_lobes, healthy),
        f"anatomies_{part}_infected": (measure_known_lobes, infected),
        "phantoms": (measure_known_lobes, cases.phantoms(part)),
    }
    if part == "test":
        groups |= {
            "lidc-0001_machine_reference": (measure_known_lobes, [read_machine_reference(data_dir)]),
            "covid_expert_lungs": (measure_expert_lungs, medseg(data_dir)),
            "covid_ct_md_infected_lobe_present": (measure_labelled_slices, labelled_studies(data_dir)),
        }
    measured = {}
    for name, (measure, chests) in groups.items():
        print(name, flush=True)
        measured[name] = measure(chests, segment)
    return measured


def run(data_dir: Path, models: Path, part: str) -> None:
    """Print every case, then all measures as JSON."""
    segment = load_segmenter(models)
    print(json.dumps(evaluate(data_dir, lambda volume: segment(volume).lobes, part), indent=2))


def shares_of_lung(lobes: MaskArray) -> dict[Lobe, float]:
    """Return the share of each lobe in the voxels of its lung.

    Args:
        lobes: ``[slices, rows, columns]``, :attr:`Lobe.label`; both lungs are there.
    """
    sizes = np.bincount(lobes.ravel(), minlength=len(Lobe) + 1)
    left = sum(int(sizes[lobe.label]) for lobe in LEFT_LOBES)
    right = int(sizes[1:].sum()) - left
    return {lobe: float(sizes[lobe.label]) / (left if lobe in LEFT_LOBES else right) for lobe in Lobe}


def widen_range(values: Iterable[float]) -> tuple[float, float]:
    """Return the range of values, wider by :data:`WIDENED_BY` on both sides."""
    values = list(values)
    more = WIDENED_BY * (max(values) - min(values))
    return min(values) - more, max(values) + more


def print_lobe_shares(data_dir: Path) -> None:
    """Print the shares of each lobe in the patients of Tang et al. 2019.

    From their widened ranges come the limits of the quality flag ``LOBE_SHARE_IMPLAUSIBLE``
    (:data:`lungct.findings.quality.PLAUSIBLE_SHARE_OF_LUNG`).
    """
    names = [name for part in read_split("anatomies").values() for name in part]
    of_patients = [shares_of_lung(read_anatomy(data_dir, name) & np.uint8(AIRWAY_BIT - 1)) for name in names]
    print(f"{len(names)} patients")
    print(f"{'share of its lung':<20}{'smallest':>10}{'median':>10}{'largest':>10}  widened")
    for lobe in Lobe:
        values = [shares[lobe] for shares in of_patients]
        low, high = widen_range(values)
        figures = "".join(f"{value:10.3f}" for value in (min(values), np.median(values), max(values)))
        print(f"{lobe:<20}{figures}  {low:.2f} to {high:.2f}")
