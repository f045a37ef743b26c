"""The paper's training of the classifier: epochs, a rate that falls when validation stands still, early stop.

Source: Topff et al. 2023, PLoS ONE 18(5): e0285121. Runs on one device, or on several under ``torchrun``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from monai.transforms.compose import Compose
from monai.transforms.intensity.array import RandGaussianNoise
from monai.transforms.spatial.array import Rand3DElastic, RandFlip
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from lungct_research.training.processes import Processes

RATE_FACTOR = 0.1

Range = tuple[NonNegativeFloat, NonNegativeFloat]


class Augmentation(BaseModel):
    """How examples change from epoch to epoch; see ``configs/classifier_paper.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    noise_variance: NonNegativeFloat
    rotation_degrees: NonNegativeFloat
    elastic_alpha: Range
    elastic_sigma: tuple[PositiveFloat, PositiveFloat]
    scale: Annotated[float, Field(ge=0, lt=1)]
    mirror: Annotated[float, Field(ge=0, le=1)]


class EpochRecipe(BaseModel):
    """What ``lungct_research/training/configs/classifier_paper.yaml`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    epochs: PositiveInt
    batch: PositiveInt
    learning_rate: PositiveFloat
    patience_epochs: PositiveInt
    stop_after_epochs: PositiveInt
    augmentation: Augmentation


@dataclass(frozen=True)
class Item:
    """One volume of a cached example.

    Attributes:
        file: ``.npz`` with ``volume``, uint8 of 255 ``[volumes, *CLASSIFIER_SHAPE]``.
        index: place in ``volume``.
        label: place in ``CLASSES``.
    """

    file: Path
    index: int
    label: int


class Volumes(Dataset[tuple[Tensor, int]]):
    """Items as ``[1, *shape]`` in (0, 1) with their label; augmented where a seed is given."""

    def __init__(self, items: Sequence[Item], recipe: EpochRecipe, seed: int | None = None) -> None:
        """``seed`` is that of the epoch."""
        self.items, self.recipe, self.seed = items, recipe, seed

    def __len__(self) -> int:
        """Number of items."""
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """The same for the same seed, whichever process asks."""
        item = self.items[index]
        with np.load(item.file) as arrays:
            volume = torch.from_numpy(arrays["volume"][item.index]).float()[None] / 255
        if volume.shape[1:] != self.recipe.shape:
            volume = functional.interpolate(volume[None], self.recipe.shape, mode="trilinear")[0]
        if self.seed is not None:
            change = augmentation(self.recipe).set_random_state(seed=self.seed * 1_000_003 + index)
            volume = torch.as_tensor(change(volume)).as_subclass(Tensor)
        return volume.clamp(0, 1), item.label


def augmentation(recipe: EpochRecipe) -> Compose:
    """The changes of the paper, by MONAI; left and right are never exchanged."""
    asked = recipe.augmentation
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
    """Where training stands; ``best_accuracy`` is that of the best epoch, ``epoch`` counts from 1."""

    epoch: int = 0
    best_epoch: int = 0
    best_accuracy: float = -1.0
    best_loss: float = float("inf")

    def better(self, accuracy: float, loss: float) -> bool:
        """Note an epoch; of two equally accurate ones that with less loss is better."""
        is_better = (accuracy, -loss) > (self.best_accuracy, -self.best_loss)
        if is_better:
            self.best_epoch, self.best_accuracy, self.best_loss = self.epoch, accuracy, loss
        return is_better


class EpochTrainer:
    """Trains a network on the items of one part and watches those of another."""

    def __init__(self, network: nn.Module, recipe: EpochRecipe, processes: Processes, run_dir: Path) -> None:
        """Start from the weights that the network has; :meth:`resume` loads the last checkpoint."""
        self.recipe, self.processes = recipe, processes
        self.network = processes.shared(network)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)
        self.schedule = ReduceLROnPlateau(
            self.optimiser, "max", RATE_FACTOR, recipe.patience_epochs, threshold=0.0
        )
        self.progress = Progress()
        self.checkpoint_file = run_dir / "epochs.pt"
        self.log = SummaryWriter(str(run_dir / "log")) if processes.is_first else None

    @property
    def plain_network(self) -> nn.Module:
        """Without what shares it between processes."""
        return self.processes.plain(self.network)

    def resume(self) -> None:
        """Go on where the last checkpoint ended."""
        state = torch.load(self.checkpoint_file, weights_only=True, map_location=self.processes.device)
        self.plain_network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.progress = Progress(**state["progress"])

    def checkpoint(self) -> None:
        """Write everything that :meth:`resume` needs."""
        unfinished = self.checkpoint_file.with_suffix(".part")
        states = {name: getattr(self, name).state_dict() for name in ("optimiser", "schedule")}
        network = self.plain_network.state_dict()
        torch.save({"network": network, "progress": vars(self.progress), **states}, unfinished)
        unfinished.rename(self.checkpoint_file)

    def train(
        self,
        train: Sequence[Item],
        validation: Sequence[Item],
        seed: int,
        on_better: Callable[[nn.Module], None],
    ) -> Progress:
        """Train until the last epoch, or until validation has not become better for long.

        Args:
            train: what is learned from.
            validation: what decides on rate, best epoch and end.
            seed: of everything random; an epoch is the same after a resume.
            on_better: called in the first process with the network after every epoch that is the best so far.
        """
        state, recipe = self.progress, self.recipe
        while state.epoch < recipe.epochs and state.epoch - state.best_epoch < recipe.stop_after_epochs:
            state.epoch += 1
            train_loss = self._train_epoch(train, seed * 10_007 + state.epoch)
            shares, labels = self.probabilities(validation)
            accuracy = float((shares.argmax(1) == labels).mean())
            loss = float(-np.log(np.clip(shares[np.arange(len(labels)), labels], 1e-12, None)).mean())
            self.schedule.step(accuracy)
            is_better = state.better(accuracy, loss)
            if self.processes.is_first:
                self._report(
                    {"loss/train": train_loss, "loss/validation": loss, "accuracy/validation": accuracy}
                )
                if is_better:
                    on_better(self.plain_network)
                self.checkpoint()
        return state

    def _train_epoch(self, items: Sequence[Item], seed: int) -> float:
        sampler: DistributedSampler[Any] = DistributedSampler(
            items,  # type: ignore[arg-type]
            self.processes.n,
            self.processes.rank,
            seed=seed,
        )
        batch = max(1, self.recipe.batch // self.processes.n)
        loader = DataLoader(
            Volumes(items, self.recipe, seed),
            batch,
            sampler=sampler,
            num_workers=self.processes.n_loaders,
        )
        torch.manual_seed(seed + self.processes.rank)
        self.network.train()
        losses = []
        shown = tqdm(
            loader, f"epoch {self.progress.epoch}", unit="batch", disable=not self.processes.is_first
        )
        for volumes, labels in shown:
            with self.processes.autocast():
                logits = self.network(volumes.to(self.processes.device))
                loss = functional.cross_entropy(logits.float(), labels.to(self.processes.device))
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses))

    @torch.inference_mode()
    def probabilities(self, items: Sequence[Item]) -> tuple[np.ndarray, np.ndarray]:
        """Softmax ``[items, 3]`` and labels ``[items]``, not augmented, each process its share."""
        mine = range(self.processes.rank, len(items), self.processes.n)
        network = self.plain_network.eval()
        volumes = Volumes(items, self.recipe)
        rows = [
            (i, network(volumes[i][0][None].to(self.processes.device)).float().softmax(1)[0].cpu().numpy())
            for i in mine
        ]
        shares = dict(pair for part in self.processes.gathered(rows) for pair in part)
        return np.stack([shares[i] for i in range(len(items))]), np.array([item.label for item in items])

    def _report(self, values: dict[str, float]) -> None:
        rate = self.optimiser.param_groups[0]["lr"]
        shown = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
        print(f"epoch {self.progress.epoch}: {shown}, rate {rate:.1e}", flush=True)
        if self.log is not None:
            for name, value in (values | {"learning_rate": rate}).items():
                self.log.add_scalar(name, value, self.progress.epoch)
            self.log.flush()
