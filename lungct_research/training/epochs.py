"""The paper's training of the classifier: epochs, a rate that falls when validation stands still, early stop.

Source: Topff et al. 2023, PLoS ONE 18(5): e0285121. Runs on one device, or on several under ``torchrun``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from monai.data.dataset import Dataset
from monai.transforms.compose import Compose
from monai.transforms.intensity.array import RandGaussianNoise
from monai.transforms.spatial.array import Rand3DElastic, RandFlip
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler
from tqdm import tqdm

from lungct_research.datasets.site_examples import CachedCase
from lungct_research.training.common import Strict
from lungct_research.training.trainer import Processes, Trainer, autocast

RATE_FACTOR = 0.1


class Augmentation(Strict):
    """Changes of the examples from epoch to epoch; see ``configs/classifier_paper.yaml``."""

    noise_variance: NonNegativeFloat
    rotation_degrees: NonNegativeFloat
    elastic_alpha: tuple[NonNegativeFloat, NonNegativeFloat]
    elastic_sigma: tuple[PositiveFloat, PositiveFloat]
    scale: Annotated[float, Field(ge=0, lt=1)]
    mirror: Annotated[float, Field(ge=0, le=1)]


class EpochRecipe(Strict):
    """Content of ``configs/classifier_paper.yaml``."""

    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    epochs: PositiveInt
    batch: PositiveInt
    learning_rate: PositiveFloat
    patience_epochs: PositiveInt
    stop_after_epochs: PositiveInt
    augmentation: Augmentation


def read_example(case: CachedCase, recipe: EpochRecipe, seed: int | None = None) -> tuple[Tensor, int]:
    """Read the volume ``[1, *shape]`` in (0, 1) of a case and its label; augmented where a seed is given."""
    with np.load(case.file) as arrays:
        volume = torch.from_numpy(arrays["volume"]).float() / 255
    if volume.shape[1:] != recipe.shape:
        volume = functional.interpolate(volume[None], recipe.shape, mode="trilinear")[0]
    if seed is not None:
        changed = make_augmentation(recipe.augmentation).set_random_state(seed=seed)(volume)
        volume = torch.as_tensor(changed).as_subclass(Tensor)
    return volume.clamp(0, 1), case.row.label_index


def make_augmentation(asked: Augmentation) -> Compose:
    """Return the changes of the paper, by MONAI; left and right are never exchanged."""
    return Compose(
        [
            Rand3DElastic(
                sigma_range=asked.elastic_sigma,
                magnitude_range=asked.elastic_alpha,
                prob=1.0,
                rotate_range=[np.deg2rad(asked.rotation_degrees)] * 3,
                scale_range=[asked.scale] * 3,
                padding_mode="zeros",
            ),
            RandFlip(prob=asked.mirror, spatial_axis=0),
            RandFlip(prob=asked.mirror, spatial_axis=1),
            RandGaussianNoise(prob=1.0, std=asked.noise_variance**0.5, sample_std=True),
        ]
    )


@dataclass
class Progress:
    """Where training stands: epochs count from 1, and the best values are those of the best epoch."""

    epoch: int = 0
    best_epoch: int = 0
    best_accuracy: float = -1.0
    best_loss: float = float("inf")

    def note(self, accuracy: float, loss: float) -> bool:
        """Return whether the epoch is the best so far; of two equally accurate ones the loss decides."""
        is_better = (accuracy, -loss) > (self.best_accuracy, -self.best_loss)
        if is_better:
            self.best_epoch, self.best_accuracy, self.best_loss = self.epoch, accuracy, loss
        return is_better


class EpochTrainer:
    """Trains a classifier on the cases of one part and watches those of another."""

    def __init__(self, network: nn.Module, recipe: EpochRecipe, processes: Processes, run_dir: Path) -> None:
        """Start from the weights that the network has; ``trainer.resume`` loads the last checkpoint."""
        self.recipe, self.processes, self.progress = recipe, processes, Progress()
        self.network = network.to(processes.device)
        self.shared = processes.share(self.network)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)
        self.schedule = ReduceLROnPlateau(
            self.optimiser, "max", RATE_FACTOR, recipe.patience_epochs, threshold=0.0
        )
        states = {"optimiser": self.optimiser, "schedule": self.schedule}
        self.trainer = Trainer(self.network, run_dir / "epochs.pt", self.progress, **states)

    def train(
        self,
        train: Sequence[CachedCase],
        validation: Sequence[CachedCase],
        seed: int,
        on_better: Callable[[], None] = lambda: None,
    ) -> None:
        """Train until the last epoch, or until validation has not become better for long.

        Args:
            train: what is learned from.
            validation: what decides on rate, best epoch and end.
            seed: of everything random; an epoch is the same after a resume.
            on_better: called in the first process after every epoch that is the best so far.
        """
        state, recipe = self.progress, self.recipe
        while state.epoch < recipe.epochs and state.epoch - state.best_epoch < recipe.stop_after_epochs:
            state.epoch += 1
            losses = self._train_epoch(train, seed * 10_007 + state.epoch)
            shares, labels = self.predict(validation)
            accuracy = float((shares.argmax(1) == labels).mean())
            loss = float(-np.log(np.clip(shares[np.arange(len(labels)), labels], 1e-12, None)).mean())
            self.schedule.step(accuracy)
            is_better = state.note(accuracy, loss)
            if self.processes.rank == 0:
                values = {"loss/train": float(np.mean(losses)), "loss/validation": loss}
                values |= {
                    "accuracy/validation": accuracy,
                    "learning_rate": self.optimiser.param_groups[0]["lr"],
                }
                self.trainer.report(f"epoch {state.epoch}", state.epoch, values)
                if is_better:
                    on_better()
                self.trainer.checkpoint()

    def _train_epoch(self, cases: Sequence[CachedCase], seed: int) -> list[float]:
        n, rank, device = self.processes.n, self.processes.rank, self.processes.device

        def read(index: int) -> tuple[Tensor, int]:
            return read_example(cases[index], self.recipe, seed * 1_000_003 + index)

        examples = Dataset(range(len(cases)), read)
        loader = DataLoader(
            examples,
            max(1, self.recipe.batch // n),
            sampler=DistributedSampler(examples, n, rank, seed=seed),
            num_workers=self.processes.n_loaders,
        )
        torch.manual_seed(seed + rank)

        def loss_of(batch: list[Tensor]) -> Tensor:
            volumes, labels = batch
            with autocast(device):
                logits = self.shared(volumes.to(device))
                return functional.cross_entropy(logits.float(), labels.to(device))

        shown = tqdm(loader, f"epoch {self.progress.epoch}", unit="batch", disable=rank > 0)
        return self.trainer.run(self.optimiser, shown, loss_of)

    @torch.inference_mode()
    def predict(self, cases: Sequence[CachedCase]) -> tuple[np.ndarray, np.ndarray]:
        """Return softmax ``[cases, 3]`` and labels ``[cases]``, not augmented; processes share the work."""
        self.network.eval()
        mine = {}
        for i in range(self.processes.rank, len(cases), self.processes.n):
            volume, _ = read_example(cases[i], self.recipe)
            logits = self.network(volume[None].to(self.processes.device))
            mine[i] = logits.float().softmax(1)[0].cpu().numpy()
        shares = {i: share for part in self.processes.gather(mine) for i, share in part.items()}
        labels = np.array([case.row.label_index for case in cases])
        return np.stack([shares[i] for i in range(len(cases))]), labels
