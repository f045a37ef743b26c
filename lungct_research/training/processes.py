"""One process, or several under ``torchrun``, each with its own GPU where there are GPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

LONGEST_WAIT = timedelta(days=3)
"""The first process makes all examples while the others wait; of a large cohort that takes long."""

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes that train together, seen from one of them.

    Attributes:
        n: how many there are.
        rank: which one this is.
        device: where it trains.
    """

    n: int
    rank: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the one that prints and writes."""
        return self.rank == 0

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """What the first process does before the others, who then find it done."""
        if self.n > 1 and not self.is_first:
            distributed.barrier()
        yield
        if self.n > 1 and self.is_first:
            distributed.barrier()

    def gathered(self, mine: T) -> list[T]:
        """What every process has, in all of them."""
        if self.n == 1:
            return [mine]
        everything: list[T | None] = [None] * self.n
        distributed.all_gather_object(everything, mine)
        return everything  # type: ignore[return-value]

    def shared(self, network: nn.Module) -> nn.Module:
        """The network on its device; several processes average its gradients."""
        network = network.to(self.device)
        if self.n == 1:
            return network
        if self.device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
            return DistributedDataParallel(network, [self.device.index])
        return DistributedDataParallel(network)

    @staticmethod
    def plain(network: nn.Module) -> nn.Module:
        """The network inside what :meth:`shared` returns."""
        return network.module if isinstance(network, DistributedDataParallel) else network

    def autocast(self) -> torch.autocast:
        """bfloat16 on a GPU, float32 elsewhere."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    @property
    def n_loaders(self) -> int:
        """Processes that load examples for this one: none on the CPU, which trains itself."""
        return max(1, (os.cpu_count() or 1) // self.n) if self.device.type == "cuda" else 0


@contextmanager
def joined_processes(device: torch.device) -> Iterator[Processes]:
    """The processes that ``torchrun`` started; without it, this one alone."""
    n = int(os.environ.get("WORLD_SIZE", "1"))
    if n == 1:
        yield Processes(1, 0, device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
    try:
        yield Processes(n, distributed.get_rank(), device)
    finally:
        distributed.destroy_process_group()
