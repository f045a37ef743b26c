"""Classifier inputs of the cases of a manifest, cached; a case that cannot be read ends the run."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from lungct.anatomy.lungs import segment_lobes
from lungct.networks import LobeUNet
from lungct.networks.device import choose_device
from lungct.networks.inputs import classifier_input
from lungct.networks.weights import LoadedModel, load_model, verify_model
from lungct_research.datasets.ct_files import read_ct, read_lungs
from lungct_research.datasets.examples import RUNS_DIR, Example, FailedExamplesError, build_examples
from lungct_research.datasets.manifest import ManifestError, ManifestRow

CACHE_DIR = RUNS_DIR / "cases"
SEEN_FILE = "seen.sha256"
"""Beside the weights: digests of the CTs that they were learned from or chosen by, to recognise leakage."""


def site_example(path: Path, mask: Path | None, lungs_model: Path, device: str) -> Example:
    """What the classifier sees of one CT.

    Args:
        path: see :func:`lungct_research.datasets.ct_files.read_ct`.
        mask: of the lungs; where None they are segmented as the application does.
        lungs_model: ``models/lungs``.
        device: where the lungs are segmented.

    Returns:
        ``volume`` uint8 of 255 ``[1, *CLASSIFIER_SHAPE]``, ``sha256`` of the CT's voxels, ``facts`` as JSON.
    """
    volume, facts = read_ct(path)
    if mask is None:
        lungs = segment_lobes(volume, _lungs_network(lungs_model, device)).lobes
    else:
        lungs = read_lungs(mask, volume)
    volume_hu = np.ascontiguousarray(volume.volume_hu)
    seen = classifier_input(torch.from_numpy(volume_hu), torch.from_numpy(lungs))
    return {
        "volume": np.round(255 * seen[0].numpy()).astype(np.uint8),
        "sha256": np.array(hashlib.sha256(volume_hu.data).hexdigest()),
        "facts": np.array(json.dumps(dict(facts))),
    }


@lru_cache(maxsize=1)
def _lungs_network(lungs_model: Path, device: str) -> LoadedModel:
    chosen = choose_device("cuda" if device == "cuda" else "cpu")
    return load_model(lungs_model.parent, lungs_model.name, LobeUNet, chosen)


def site_examples(cases: Sequence[ManifestRow], lungs_model: Path, device: torch.device) -> list[Path]:
    """Cached examples of all cases, in their order.

    Raises:
        ManifestError: CTs or masks that cannot be read, or cases that hold the same images; by row.
    """
    lungs_sha256 = verify_model(lungs_model.parent, lungs_model.name).info.sha256
    names = {_cache_name(case, lungs_sha256): case for case in cases}
    jobs = {name: (case.path, case.mask, lungs_model, device.type) for name, case in names.items()}
    try:
        files = build_examples(CACHE_DIR, jobs, site_example)
    except FailedExamplesError as error:
        failed = {names[name].row: message for name, message in error.failures.items()}
        raise ManifestError(f"row {row}: {failed[row]}" for row in sorted(failed)) from error
    _require_distinct(cases, files)
    return files


def _cache_name(case: ManifestRow, lungs_sha256: str) -> str:
    """Of what the example depends on: files that change give another name."""
    parts = [f"{path} {path.stat().st_mtime_ns}" for path in (case.path, case.mask) if path is not None]
    return hashlib.sha256(" ".join([*parts, "" if case.mask else lungs_sha256]).encode()).hexdigest()[:32]


def _require_distinct(cases: Sequence[ManifestRow], files: Sequence[Path]) -> None:
    rows = defaultdict(list)
    for case, digest in zip(cases, voxel_digests(files), strict=True):
        rows[digest].append(str(case.row))
    problems = [f"rows {', '.join(same)} hold the same images" for same in rows.values() if len(same) > 1]
    if problems:
        raise ManifestError(problems)


def voxel_digests(files: Sequence[Path]) -> list[str]:
    """SHA-256 of the voxels of every CT, by which it is known again under another name."""
    return [_of_file(file, "sha256") for file in files]


def with_facts(cases: Sequence[ManifestRow], files: Sequence[Path]) -> list[ManifestRow]:
    """The cases with what the headers of their CTs say; what the manifest says counts for more."""
    return [
        replace(case, facts=json.loads(_of_file(file, "facts")) | dict(case.facts))
        for case, file in zip(cases, files, strict=True)
    ]


def _of_file(file: Path, key: str) -> str:
    with np.load(file) as arrays:
        return str(arrays[key])


def digests_of(model_dir: Path | None) -> list[str]:
    """Digests of the CTs that a model has seen, as far as it tells."""
    file = None if model_dir is None else model_dir / SEEN_FILE
    return file.read_text(encoding="utf-8").split() if file is not None and file.exists() else []
