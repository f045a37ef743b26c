"""Classifier inputs of the cases of a manifest, cached; a case that cannot be read ends the run."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from lungct.anatomy.lungs import segment_lobes
from lungct.networks import LobeUNet
from lungct.networks.device import choose_device
from lungct.networks.inputs import as_tensor, classifier_input
from lungct.networks.weights import LoadedModel, load_model, verify_model
from lungct_research.datasets.ct_files import read_ct, read_lungs
from lungct_research.datasets.examples import RUNS_DIR, Example, FailedExamplesError, build_examples
from lungct_research.datasets.manifest import ManifestError, ManifestRow

CACHE_DIR = RUNS_DIR / "cases"
SEEN_FILE = "seen.sha256"
"""File beside the weights with the digests of the CTs that they were learned from or chosen by."""


@dataclass(frozen=True)
class CachedCase:
    """A case, and the file that holds what the classifier sees of it.

    Attributes:
        row: what the manifest says, and the headers of the CT where it says nothing.
        file: ``.npz`` with ``volume``, uint8 of 255 ``[1, *CLASSIFIER_SHAPE]``.
        sha256: digest of the CT's voxels, by which it is known again under another name; empty where the
            chest is synthetic.
    """

    row: ManifestRow
    file: Path
    sha256: str = ""


def site_example(path: Path, mask: Path | None, lungs_model: Path, device: str) -> Example:
    """Make the classifier's input of one CT.

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
    seen = classifier_input(as_tensor(volume_hu), as_tensor(lungs))
    return {
        "volume": np.round(255 * seen[0].numpy()).astype(np.uint8),
        "sha256": np.array(hashlib.sha256(volume_hu.data).hexdigest()),
        "facts": np.array(json.dumps(dict(facts))),
    }


@lru_cache(maxsize=1)
def _lungs_network(lungs_model: Path, device: str) -> LoadedModel:
    chosen = choose_device("cuda" if device == "cuda" else "cpu")
    return load_model(lungs_model.parent, lungs_model.name, LobeUNet, chosen)


def site_examples(rows: Iterable[ManifestRow], lungs_model: Path, device: torch.device) -> list[CachedCase]:
    """Make the examples of all cases that are not in the cache yet; return all, in their order.

    Raises:
        ManifestError: CTs or masks that cannot be read, or cases that hold the same images; by row.
    """
    lungs_sha256 = verify_model(lungs_model.parent, lungs_model.name).info.sha256
    names = {_cache_name(row, lungs_sha256): row for row in rows}
    jobs = {name: (row.path, row.mask, lungs_model, device.type) for name, row in names.items()}
    try:
        files = build_examples(CACHE_DIR, jobs, site_example)
    except FailedExamplesError as error:
        failed = {names[name].row: message for name, message in error.failures.items()}
        raise ManifestError(f"row {row}: {failed[row]}" for row in sorted(failed)) from error
    cases = [_read_case(row, file) for row, file in zip(names.values(), files, strict=True)]
    _require_distinct(cases)
    return cases


def _cache_name(row: ManifestRow, lungs_sha256: str) -> str:
    """Name all that the example depends on, so that files that change give another name."""
    parts = [f"{path} {path.stat().st_mtime_ns}" for path in (row.path, row.mask) if path is not None]
    return hashlib.sha256(" ".join([*parts, "" if row.mask else lungs_sha256]).encode()).hexdigest()[:32]


def _read_case(row: ManifestRow, file: Path) -> CachedCase:
    with np.load(file) as arrays:
        facts, sha256 = json.loads(str(arrays["facts"])), str(arrays["sha256"])
    return CachedCase(replace(row, facts=facts | dict(row.facts)), file, sha256)


def _require_distinct(cases: Sequence[CachedCase]) -> None:
    rows = defaultdict(list)
    for case in cases:
        rows[case.sha256].append(str(case.row.row))
    problems = [f"rows {', '.join(same)} hold the same images" for same in rows.values() if len(same) > 1]
    if problems:
        raise ManifestError(problems)


def read_digests(model_dir: Path | None) -> list[str]:
    """Read the digests of the CTs that a model has seen, as far as it tells."""
    file = None if model_dir is None else model_dir / SEEN_FILE
    return file.read_text(encoding="utf-8").split() if file is not None and file.exists() else []
