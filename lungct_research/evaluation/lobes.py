"""How well lungs and lobes are found: measures of what the application would report."""

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
from lungct.records import CtVolume, Lobe, MaskArray
from lungct_research.datasets.case import Case, known
from lungct_research.datasets.sets import labelled_studies, medseg
from lungct_research.datasets.volumes import machine_reference
from lungct_research.evaluation import cases
from lungct_research.evaluation.agreement import dice

Segmenter = Callable[[CtVolume], MaskArray]
"""Lobes of a canonical volume on its grid."""

NAMES = (*map(str, Lobe), "lungs")


def lobe_dice(found: MaskArray, true: MaskArray) -> dict[str, float]:
    """Dice of every lobe and of both lungs together."""
    pairs = [(found == lobe.label, true == lobe.label) for lobe in Lobe] + [(found > 0, true > 0)]
    return {name: dice(*pair) for name, pair in zip(NAMES, pairs, strict=True)}


def of_known_lobes(chests: Iterable[Case], segment: Segmenter) -> dict[str, Any]:
    """Mean Dice, the worst case, and the mean relative volume error, each for lobes and lungs."""
    rows, errors, names = [], [], []
    for case in chests:
        found, true = segment(case.volume), known(case.lobes, case.name, "lobes")
        rows.append(list(lobe_dice(found, true).values()))
        sizes = [(np.bincount(labels.ravel(), minlength=6)[1:]) for labels in (found, true)]
        n_found, n_true = (np.append(size, size.sum()) for size in sizes)
        errors.append(np.abs(n_found / np.maximum(n_true, 1) - 1))
        names.append(case.name)
        print(f"  {case.name:<12}", *(f"{value:.3f}" for value in rows[-1]), flush=True)
    table = np.array(rows)
    worst = int(table[:, : len(Lobe)].mean(axis=1).argmin())
    return {
        "dice_mean": _named(table.mean(axis=0)),
        "dice_mean_of_lobes": round(float(table[:, : len(Lobe)].mean()), 3),
        "dice_worst_case": {"case": names[worst], **_named(table[worst])},
        "volume_error_mean_abs": _named(np.mean(errors, axis=0)),
        "n": len(rows),
    }


def _named(values: np.ndarray) -> dict[str, float]:
    return dict(zip(NAMES, np.round(values, 3).tolist(), strict=True))


def of_expert_lungs(chests: Iterable[Case], segment: Segmenter) -> dict[str, Any]:
    """Recall and Dice of the lungs on COVID-19 chests, and recall inside the expert's opacities."""
    measured = {}
    for case in chests:
        found = segment(case.volume) > 0
        lung = known(case.lungs, case.name, "lungs") > 0
        opacity = known(case.opacity, case.name, "opacities") > 0
        measured[case.name] = {
            "recall": round(float(found[lung].mean()), 3),
            "dice": round(dice(found, lung), 3),
            "recall_in_opacities": round(float(found[opacity].mean()), 3),
        }
        print(f"  {case.name:<12}", *measured[case.name].values(), flush=True)
    return measured


def of_labelled_slices(chests: Iterable[Case], segment: Segmenter) -> dict[str, Any]:
    """On how many of the slices where a lobe is known to be infected that lobe was found at all."""
    measured = {}
    for case in chests:
        infected = known(case.lobe_infected, case.name, "infected lobes")
        lobes = segment(case.volume)
        present = np.concatenate(
            [(lobes[slices] == lobe.label).any(axis=(1, 2)) for lobe, slices in infected.items()]
        )
        measured[case.name] = {"present": round(float(present.mean()), 3), "n": len(present)}
        print(f"  {case.name:<12}", *measured[case.name].values(), flush=True)
    return measured


def evaluate(data_dir: Path, segment: Segmenter, part: str = "test") -> dict[str, Any]:
    """All measures, by group of cases.

    Args:
        data_dir: holds the anatomies and the real chests.
        segment: what is measured.
        part: ``test``, or ``validation``: synthetic chests and phantoms only, for choices to be made on.
    """
    groups: dict[str, Callable[[], dict[str, Any]]] = {
        f"anatomies_{part}": lambda: of_known_lobes(cases.anatomies(data_dir, part, infected=False), segment),
        f"anatomies_{part}_infected": lambda: of_known_lobes(
            cases.anatomies(data_dir, part, infected=True), segment
        ),
        "phantoms": lambda: of_known_lobes(cases.phantoms(part), segment),
    }
    if part == "test":
        groups |= _real_groups(data_dir, segment)
    measured = {}
    for name, measure in groups.items():
        print(name, flush=True)
        measured[name] = measure()
    return measured


def _real_groups(data_dir: Path, segment: Segmenter) -> dict[str, Callable[[], dict[str, Any]]]:
    return {
        "lidc-0001_machine_reference": lambda: of_known_lobes([machine_reference(data_dir)], segment),
        "covid_expert_lungs": lambda: of_expert_lungs(medseg(data_dir), segment),
        "covid_ct_md_infected_lobe_present": lambda: of_labelled_slices(labelled_studies(data_dir), segment),
    }


def run(data_dir: Path, models: Path, part: str) -> None:
    """Print every case, then all measures as JSON."""
    keep_freed_memory()
    model = load_model(models, "lungs", LobeUNet, torch.device("cpu"))
    measured = evaluate(data_dir, lambda volume: segment_lobes(volume, model).lobes, part)
    print(json.dumps(measured, indent=2))
