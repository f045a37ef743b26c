"""The training loop of all networks, and the processes that may share it under ``torchrun``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.tensorboard import SummaryWriter

from lungct.errors import InputError

LONGEST_WAIT = timedelta(days=3)
"""Longest time that processes wait while the first one makes the examples of a large cohort. Own decision."""

Batch = TypeVar("Batch")
T = TypeVar("T")


class Trainer:
    """Takes steps, and keeps what a run needs to go on after an interruption.

    A recipe brings its optimiser, its batches and its loss, and says when to write a checkpoint.
    """

    def __init__(self, network: nn.Module, checkpoint_file: Path, progress: Any, **states: Any) -> None:
        """Begin at the start; :meth:`resume` goes on from the last checkpoint.

        Args:
            network: trained in place.
            checkpoint_file: its folder is made where missing, and holds the log for TensorBoard too.
            progress: dataclass of numbers that say how far training is.
            states: what else a checkpoint holds, such as the optimiser; each has a ``state_dict``.
        """
        checkpoint_file.parent.mkdir(parents=True, exist_ok=True)
        self.network, self.progress, self.checkpoint_file = network, progress, checkpoint_file
        self.states = {"network": network, **states}
        self._log: SummaryWriter | None = None

    def resume(self) -> None:
        """Go on where the last checkpoint ended.

        Raises:
            InputError: there is no checkpoint.
        """
        if not self.checkpoint_file.exists():
            raise InputError(f"{self.checkpoint_file} is missing: leave out --resume", "NO_CHECKPOINT")
        saved = torch.load(self.checkpoint_file, weights_only=True, map_location="cpu")
        for name, part in self.states.items():
            part.load_state_dict(saved[name])
        for name in vars(self.progress):
            setattr(self.progress, name, saved[name])

    def checkpoint(self) -> None:
        """Write what :meth:`resume` needs."""
        saved = {name: part.state_dict() for name, part in self.states.items()}
        unfinished = self.checkpoint_file.with_suffix(".part")
        torch.save(saved | vars(self.progress), unfinished)
        unfinished.rename(self.checkpoint_file)

    def run(
        self, optimiser: torch.optim.Optimizer, batches: Iterable[Batch], loss_of: Callable[[Batch], Tensor]
    ) -> list[float]:
        """Take one step a batch.

        Args:
            optimiser: changes the network.
            batches: the next one is asked for when the step before is done.
            loss_of: computes the loss of a batch.

        Returns:
            The loss of every batch.
        """
        self.network.train()
        losses = []
        for batch in batches:
            loss = loss_of(batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        return losses

    def report(self, when: str, number: int, values: dict[str, float]) -> None:
        """Print values, and log them for TensorBoard at the given number of the step or epoch."""
        print(f"{when}: " + ", ".join(f"{name} {value:.4g}" for name, value in values.items()), flush=True)
        self._log = self._log or SummaryWriter(str(self.checkpoint_file.parent / "log"))
        for name, value in values.items():
            self._log.add_scalar(name, value, number)
        self._log.flush()


def autocast(device: torch.device) -> torch.autocast:
    """Return a context that computes in bfloat16 on a GPU and changes nothing elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


@dataclass(frozen=True)
class Processes:
    """Processes that train together, seen from one of them.

    Attributes:
        device: where this one trains.
        n: how many there are.
        rank: number of this one; process 0 prints and writes.
    """

    device: torch.device
    n: int = 1
    rank: int = 0

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Let the first process finish a block before the others enter it."""
        if self.n > 1 and self.rank:
            distributed.barrier()
        yield
        if self.n > 1 and not self.rank:
            distributed.barrier()

    def gather(self, mine: T) -> list[T]:
        """Return what every process has, in all of them."""
        everything: list[Any] = [mine] * self.n
        if self.n > 1:
            distributed.all_gather_object(everything, mine)
        return everything

    def share(self, network: nn.Module) -> nn.Module:
        """Wrap a network so that the gradients of all processes are averaged."""
        if self.n == 1:
            return network
        if self.device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
            return DistributedDataParallel(network, [self.device.index])
        return DistributedDataParallel(network)

    @property
    def n_loaders(self) -> int:
        """Number of processes that load examples for this one: none on the CPU, which trains itself."""
        return max(1, (os.cpu_count() or 1) // self.n) if self.device.type == "cuda" else 0


@contextmanager
def join_processes(device: torch.device) -> Iterator[Processes]:
    """Yield the processes that ``torchrun`` started; without it, this one alone."""
    n = int(os.environ.get("WORLD_SIZE", "1"))
    if n == 1:
        yield Processes(device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
    try:
        yield Processes(device, n, distributed.get_rank())
    finally:
        distributed.destroy_process_group()
