"""The paper's schedule on tiny volumes."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import multiprocessing, nn

from lungct.networks import Classifier3d
from lungct.networks.classifier3d import CLASSES
from lungct_research.datasets.manifest import ManifestRow, Part
from lungct_research.datasets.site_examples import CachedCase
from lungct_research.training.common import read_recipe
from lungct_research.training.epoch_runs import PAPER_RECIPE
from lungct_research.training.epochs import (
    EpochRecipe,
    EpochTrainer,
    Progress,
    make_augmentation,
    read_example,
)
from lungct_research.training.trainer import Processes, join_processes

CPU = torch.device("cpu")
ALONE = Processes(CPU)
PAPER = read_recipe(PAPER_RECIPE, EpochRecipe)
SHAPE = (32, 16, 16)
TINY = PAPER.model_copy(
    update={
        "shape": SHAPE,
        "epochs": 2,
        "batch": 2,
        "learning_rate": 1e-3,
        "augmentation": PAPER.augmentation.model_copy(update={"elastic_sigma": (1.0, 2.0)}),
    }
)


@pytest.fixture
def cases(tmp_path: Path) -> list[CachedCase]:
    rng = np.random.default_rng(0)
    return [make_case(tmp_path / f"{n}.npz", rng, CLASSES[n % 3]) for n in range(4)]


def make_case(file: Path, rng: np.random.Generator, label: str, part: Part = "train") -> CachedCase:
    np.savez(file, volume=rng.integers(0, 255, (1, *SHAPE)).astype(np.uint8))
    return CachedCase(ManifestRow(0, file, "patient", "north", label, split=part), file)


def network() -> nn.Module:
    torch.manual_seed(0)
    return Classifier3d()


def trainer(run_dir: Path, recipe: EpochRecipe = TINY) -> EpochTrainer:
    return EpochTrainer(network(), recipe, ALONE, run_dir)


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_the_shipped_recipe_is_that_of_the_paper() -> None:
    assert PAPER.shape == (64, 224, 224)
    assert (PAPER.epochs, PAPER.batch, PAPER.learning_rate, PAPER.patience_epochs) == (200, 10, 1e-4, 50)
    asked = PAPER.augmentation
    assert (asked.noise_variance, asked.scale) == (0.015, 0.1)
    assert (asked.elastic_alpha, asked.elastic_sigma) == ((0, 100), (8, 13))


def test_augmented_volumes_depend_on_the_seed_and_on_nothing_else(cases: list[CachedCase]) -> None:
    first, again, other = (read_example(cases[1], TINY, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (1, *SHAPE)
    assert 0 <= float(first.min()) <= float(first.max()) <= 1


def test_volumes_are_not_augmented_for_validation_and_fit_the_recipe(cases: list[CachedCase]) -> None:
    volume, label = read_example(cases[2], TINY)
    with np.load(cases[2].file) as arrays:
        assert np.allclose(volume[0].numpy(), arrays["volume"][0] / 255)
    assert label == 2
    smaller = TINY.model_copy(update={"shape": (8, 12, 12)})
    assert read_example(cases[0], smaller)[0].shape == (1, 8, 12, 12)


def test_left_and_right_are_never_exchanged() -> None:
    """A bright left half stays on the left, whatever else happens to it."""
    volume = torch.zeros(1, 12, 12, 24)
    volume[..., 14:] = 1
    for seed in range(6):
        changed = make_augmentation(PAPER.augmentation).set_random_state(seed=seed)(volume)
        assert changed[..., 16:].mean() > 3 * changed[..., :8].mean()


def test_resumed_training_ends_where_undisturbed_training_does(
    tmp_path: Path, cases: list[CachedCase]
) -> None:
    whole = trainer(tmp_path / "whole")
    whole.train(cases, cases, 1)
    half = trainer(tmp_path / "cut", TINY.model_copy(update={"epochs": 1}))
    half.train(cases, cases, 1)
    resumed = trainer(tmp_path / "cut")
    resumed.trainer.resume()
    assert resumed.progress.epoch == 1
    resumed.train(cases, cases, 1)
    assert torch.equal(weights(resumed.network), weights(whole.network))
    assert resumed.progress == whole.progress


def with_accuracies(found: EpochTrainer, accuracies: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every epoch validates with the next accuracy out of ten cases, whatever it has learned."""
    left = iter(accuracies)

    def validated(_: object) -> tuple[np.ndarray, np.ndarray]:
        labels = np.zeros(10, int)
        n_right = round(10 * next(left))
        return np.eye(3)[[0] * n_right + [1] * (10 - n_right)], labels

    monkeypatch.setattr(found, "predict", validated)
    monkeypatch.setattr(found.trainer, "checkpoint", lambda: None)


def test_the_rate_falls_and_training_stops_when_validation_stands_still(
    tmp_path: Path, cases: list[CachedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = TINY.model_copy(update={"epochs": 99, "patience_epochs": 2, "stop_after_epochs": 4})
    found = trainer(tmp_path, recipe)
    with_accuracies(found, [0.5, 0.8, *[0.7] * 20], monkeypatch)
    saved: list[int] = []
    found.train(cases[:2], [], 1, lambda: saved.append(found.progress.epoch))
    assert saved == [1, 2]
    assert found.progress.epoch == 2 + 4
    assert found.optimiser.param_groups[0]["lr"] == pytest.approx(1e-4)


def test_of_equally_accurate_epochs_that_with_less_loss_is_better() -> None:
    progress = Progress(epoch=1)
    assert progress.note(0.5, 1.0)
    assert not progress.note(0.5, 1.1)
    assert progress.note(0.5, 0.9)
    assert not progress.note(0.4, 0.1)


def in_one_of_two(rank: int, cases: list[CachedCase], run_dir: Path) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    torch.set_num_threads(1)
    with join_processes(CPU) as processes:
        found = EpochTrainer(network(), TINY, processes, run_dir)
        found.train(cases, cases, 1)
        shares, labels = found.predict(cases)
        torch.save((weights(found.network), shares, labels), run_dir / f"{rank}.pt")


def test_two_processes_share_the_gradients_and_the_validation(
    tmp_path: Path, cases: list[CachedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MASTER_PORT", str(server.getsockname()[1]))
    multiprocessing.spawn(in_one_of_two, (cases, tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2))
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[0], weights(network()))
    assert np.array_equal(first[1], second[1])
    assert first[2].tolist() == [case.row.label_index for case in cases]
