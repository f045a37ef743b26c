"""Examples that networks learn from: made once, on all cores, and kept as files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from lungct.errors import InputError, NoEligibleSeriesError
from lungct.networks.device import keep_freed_memory

RUNS_DIR = Path("runs")
N_WORKERS = len(os.sched_getaffinity(0))

Example = dict[str, np.ndarray]


class FailedExamplesError(InputError):
    """Some examples could not be made.

    Attributes:
        failures: message by name of the example.
    """

    def __init__(self, failures: dict[str, str]) -> None:
        """Keep what failed, in the order of the names."""
        self.failures = dict(sorted(failures.items()))
        super().__init__("\n".join(f"{name}: {message}" for name, message in self.failures.items()))


def build_examples(
    folder: Path, jobs: dict[str, tuple[Any, ...]], make: Callable[..., Example]
) -> list[Path]:
    """Make the examples that are not in the cache yet, on all cores.

    Args:
        folder: cache; one ``.npz`` file an example.
        jobs: name of an example and the arguments of ``make`` for it.
        make: returns the arrays of one example; a function of a module.

    Returns:
        The files of all jobs, in their order.

    Raises:
        FailedExamplesError: input that cannot be used; all other examples are made nevertheless.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = {name: arguments for name, arguments in jobs.items() if not (folder / f"{name}.npz").exists()}
    failures: dict[str, str] = {}
    with ProcessPoolExecutor(N_WORKERS, get_context("spawn"), _prepare_worker) as pool:
        futures = {
            pool.submit(_make_one, folder / f"{name}.npz", make, args): name for name, args in missing.items()
        }
        progress = tqdm(as_completed(futures), folder.name, len(futures), unit="example", disable=not futures)
        for future in progress:
            try:
                future.result()
            except (InputError, NoEligibleSeriesError) as error:
                failures[futures[future]] = str(error)
    if failures:
        raise FailedExamplesError(failures)
    return [folder / f"{name}.npz" for name in jobs]


def _prepare_worker() -> None:
    keep_freed_memory()
    torch.set_num_threads(1)


def _make_one(path: Path, make: Callable[..., Example], arguments: tuple[Any, ...]) -> None:
    unfinished = path.with_suffix(".part.npz")
    arrays: dict[str, Any] = {**make(*arguments)}
    np.savez(unfinished, **arrays)
    unfinished.rename(path)


def join_examples(examples: Iterable[Example]) -> Example:
    """Join examples of the same keys, one after the other along the first axis."""
    examples = list(examples)
    return {key: np.concatenate([example[key] for example in examples]) for key in examples[0]}


def load_examples(paths: Iterable[Path]) -> list[Example]:
    """Load examples into memory."""
    examples = []
    for path in paths:
        with np.load(path) as arrays:
            examples.append(dict(arrays))
    return examples
