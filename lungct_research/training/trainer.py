"""The timed training loop: averaged weights, a learning rate that falls with the time used, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter

CPU = torch.device("cpu")
CHECKPOINT_EVERY_S = 120.0
WARM_UP_SHARE = 0.05


class Trainer:
    """Trains for a time budget with AdamW, a cosine learning rate and averaged weights.

    The averaged weights (exponential moving average) are what is evaluated and saved. On a GPU the forward
    pass runs in bfloat16. Loss and rate go to TensorBoard, in the run's folder.
    """

    def __init__(
        self,
        network: nn.Module,
        run_dir: Path,
        learning_rate: float,
        decay: float,
        device: torch.device = CPU,
    ) -> None:
        """Start from scratch; :meth:`resume` loads the last checkpoint."""
        self.network = network.to(device)
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
        self.log = SummaryWriter(str(run_dir / "log"))
        self.averaged = AveragedModel(network, multi_avg_fn=moving_average(decay), use_buffers=True)
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-2)
        self.learning_rate = learning_rate
        self.checkpoint_file = run_dir / "checkpoint.pt"
        self.steps, self.trained_s = 0, 0.0
        run_dir.mkdir(parents=True, exist_ok=True)

    def resume(self) -> None:
        """Go on where the last checkpoint ended."""
        state = torch.load(self.checkpoint_file, weights_only=True, map_location="cpu")
        for name in ("network", "averaged", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.steps, self.trained_s = state["steps"], state["trained_s"]

    def checkpoint(self) -> None:
        """Write everything that :meth:`resume` needs."""
        state = {name: getattr(self, name).state_dict() for name in ("network", "averaged", "optimiser")}
        unfinished = self.checkpoint_file.with_suffix(".part")
        torch.save({**state, "steps": self.steps, "trained_s": self.trained_s}, unfinished)
        unfinished.rename(self.checkpoint_file)

    def forward(self, batch: Tensor) -> Tensor:
        """What the network says, in float32."""
        with self.autocast:
            said: Tensor = self.network(batch)
        return said.float()

    def train(
        self,
        loss_of_step: Callable[[int, float], Tensor],
        budget_s: float,
        on_checkpoint: Callable[[nn.Module], None],
    ) -> None:
        """Step until the budget is used.

        Args:
            loss_of_step: the loss of a fresh batch, given the step's number and the share of the budget used.
            budget_s: training time in seconds, that before a resume included.
            on_checkpoint: called with the averaged network after every checkpoint and at the end.
        """
        losses: list[float] = []
        last_checkpoint_s = self.trained_s
        while self.trained_s < budget_s:
            start = time.monotonic()
            losses.append(self._step(loss_of_step, self.trained_s / budget_s))
            self.trained_s += time.monotonic() - start
            if self.trained_s - last_checkpoint_s > CHECKPOINT_EVERY_S:
                last_checkpoint_s = self.trained_s
                self._report(losses)
                self.checkpoint()
                on_checkpoint(self.averaged.module)
        self._report(losses)
        self.checkpoint()
        on_checkpoint(self.averaged.module)

    def _step(self, loss_of_step: Callable[[int, float], Tensor], share: float) -> float:
        self.network.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate * learning_rate_share(share)
        loss = loss_of_step(self.steps, share)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.averaged.update_parameters(self.network)
        self.steps += 1
        return float(loss.detach())

    def _report(self, losses: list[float]) -> None:
        recent = np.mean(losses[-50:]) if losses else float("nan")
        print(f"step {self.steps}, {self.trained_s / 60:.1f} min, loss {recent:.4f}", flush=True)
        self.log.add_scalar("loss", recent, self.steps)
        self.log.add_scalar("learning_rate", self.optimiser.param_groups[0]["lr"], self.steps)
        self.log.flush()


def learning_rate_share(share: float) -> float:
    """Linear warm-up, then a cosine to 1 % of the learning rate, by the share of the budget used."""
    if share < WARM_UP_SHARE:
        return max(share, 0.002) / WARM_UP_SHARE
    progress = min((share - WARM_UP_SHARE) / (1 - WARM_UP_SHARE), 1.0)
    return float(0.01 + 0.99 * (1 + np.cos(np.pi * progress)) / 2)


Tensors = tuple[Tensor, ...] | list[Tensor]


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Exponential moving average that forgets faster at first: by (1 + n) / (10 + n) after ``n`` updates.

    What the weights were at the start is then soon gone, however slow the average is later.
    """

    def update(averaged: Tensors, current: Tensors, n: Tensor | int) -> None:
        get_ema_multi_avg_fn(min(decay, (1 + int(n)) / (10 + int(n))))(averaged, current, n)

    return update
