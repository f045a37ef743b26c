"""Options of a training run, the run from there to the model card, and training for a given time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import numpy as np
import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, TypeAdapter
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lungct.networks.device import choose_device, keep_freed_memory
from lungct.networks.weights import LoadedModel, load_model
from lungct_research.datasets.examples import N_WORKERS, RUNS_DIR
from lungct_research.datasets.manifest import SplitBy
from lungct_research.evaluation.model_cards import Card, Evaluation, save_with_card
from lungct_research.training.trainer import Trainer, autocast

CPU = torch.device("cpu")
RECIPES_DIR = Path(__file__).parent / "configs"
CARDS_DIR = Path(__file__).parent / "cards"

CHECKPOINT_EVERY_S = 120.0
WARM_UP_SHARE = 0.05
WEIGHT_DECAY = 1e-2
LARGEST_GRADIENT = 5.0
"""Norm to which larger gradients are cut; own decision, as is all of the training for a given time."""


@dataclass(frozen=True)
class Options:
    """Options of a training run.

    Attributes:
        data: folder with the CT data.
        out: ``models/<name>``.
        minutes: training time; making the examples is not counted.
        start: ``models/<name>`` whose weights training begins with; from scratch where None.
        resume: go on from the last checkpoint.
        evaluate: measure the weights in ``out`` instead of training.
        config: recipe; the network's own where None.
        manifest: cases of a site, for the classifier; None for the synthetic cohort.
        split_by: see :func:`lungct_research.datasets.manifest.read_manifest`.
        lungs: model that segments the lungs where the manifest names no mask.
    """

    data: Path
    out: Path
    minutes: float
    seed: int
    start: Path | None = None
    resume: bool = False
    evaluate: bool = False
    config: Path | None = None
    device: torch.device = CPU
    manifest: Path | None = None
    split_by: SplitBy | None = None
    lungs: Path = Path("models/lungs")

    @property
    def run_dir(self) -> Path:
        """Folder of the checkpoints and the log of this model."""
        return RUNS_DIR / self.out.name


def read_options(asked: Mapping[str, Any]) -> Options:
    """Turn what the command line asks for into options; without a data folder the working one is taken."""
    return Options(**{**asked, "data": asked["data"] or Path(), "device": choose_device(asked["device"])})


class Strict(BaseModel):
    """Values of a recipe, which has these keys and no others."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Recipe(Strict):
    """Values that recipes for a given training time have in common."""

    learning_rate: PositiveFloat
    average_decay: Annotated[float, Field(gt=0, lt=1)]


R = TypeVar("R", bound=BaseModel)


def read_recipe(path: Path, kind: type[R]) -> R:
    """Read a recipe.

    Raises:
        ValueError: a key is missing, unknown or out of range; the message names it.
    """
    return kind.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def read_card(*names: str) -> Card:
    """Read what a model card says from ``cards/common.yaml`` and the named files; later ones overrule."""
    said: dict[str, Any] = {}
    for name in ("common", *names):
        said |= yaml.safe_load((CARDS_DIR / f"{name}.yaml").read_text(encoding="utf-8"))
    return TypeAdapter(Card).validate_python(said)


def prepare_process(seed: int) -> None:
    """Set allocator, threads and seed; call once before the first large array."""
    keep_freed_memory()
    torch.set_num_threads(N_WORKERS)
    torch.manual_seed(seed)


def train_and_evaluate(
    card: Card,
    build: Callable[[], nn.Module],
    train: Callable[[Options], None],
    evaluate: Callable[[Options, LoadedModel], Evaluation],
    options: Options,
) -> None:
    """Train unless only evaluation was asked for, evaluate, and write the final model folder.

    Args:
        card: what is known about the network.
        build: makes the untrained network.
        train: trains and saves weights to ``options.out``.
        evaluate: measures the model that was saved.
        options: the command line.
    """
    prepare_process(options.seed)
    if not options.evaluate:
        train(options)
    loaded = load_model(options.out.parent, options.out.name, build, CPU)
    with torch.inference_mode():
        evaluation = evaluate(options, loaded)
    measured = json.dumps({**evaluation.metrics, "parameters": evaluation.parameters}, indent=2)
    options.run_dir.mkdir(parents=True, exist_ok=True)
    (options.run_dir / "metrics.json").write_text(measured + "\n", encoding="utf-8")
    print(measured, flush=True)
    save_with_card(options.out, card, loaded.network, evaluation)


Network = TypeVar("Network", bound=nn.Module)


def initial_network(options: Options, build: Callable[[], Network]) -> Network:
    """Build the network that training begins with: untrained, or with the weights that ``--from`` names."""
    if options.start is None:
        return build()
    return cast(Network, load_model(options.start.parent, options.start.name, build, CPU).network)


@dataclass
class TimeUsed:
    """Progress of training for a given time."""

    steps: int = 0
    trained_s: float = 0.0


Forward = Callable[[Tensor], Tensor]


def fit(
    options: Options,
    card: Card,
    network: nn.Module,
    recipe: Recipe,
    loss_of_step: Callable[[Forward, torch.Generator, float], Tensor],
    interim: Evaluation | None = None,
) -> None:
    """Train for the asked minutes with AdamW, saving the averaged weights with every checkpoint.

    Args:
        options: the command line.
        card: what is known about the network.
        network: trained in place; what is saved is the exponential moving average of its weights.
        recipe: learning rate, which falls with the time used, and decay of the average.
        loss_of_step: the loss of a fresh batch, given what runs the network on it, the randomness of the
            step on the training device, which is the same after a resume, and the share of the time used.
        interim: what is known of weights that are not measured yet.
    """
    network.to(options.device)
    averaged = AveragedModel(network, multi_avg_fn=moving_average(recipe.average_decay), use_buffers=True)
    rate, weights = recipe.learning_rate, list(network.parameters())
    optimiser = torch.optim.AdamW(weights, lr=rate, weight_decay=WEIGHT_DECAY)
    optimiser.register_step_pre_hook(lambda *_: _cut_gradients(weights))
    optimiser.register_step_post_hook(lambda *_: averaged.update_parameters(network))
    used, budget_s = TimeUsed(), 60 * options.minutes
    trainer = Trainer(
        network, options.run_dir / "checkpoint.pt", used, averaged=averaged, optimiser=optimiser
    )
    if options.resume:
        trainer.resume()

    def forward(batch: Tensor) -> Tensor:
        with autocast(options.device):
            output: Tensor = network(batch)
        return output.float()

    def steps_until_checkpoint() -> Iterator[tuple[torch.Generator, float]]:
        start_s = time.monotonic() - used.trained_s
        until_s = min(budget_s, used.trained_s + CHECKPOINT_EVERY_S)
        while used.trained_s < until_s:
            share = used.trained_s / budget_s
            for group in optimiser.param_groups:
                group["lr"] = rate * learning_rate_share(share)
            yield torch.Generator(options.device).manual_seed(options.seed * 1_000_003 + used.steps), share
            used.steps += 1
            used.trained_s = time.monotonic() - start_s

    while True:
        losses = trainer.run(optimiser, steps_until_checkpoint(), lambda at: loss_of_step(forward, *at))
        mean_loss = float(np.mean(losses[-50:])) if losses else float("nan")
        values = {"loss": mean_loss, "learning_rate": optimiser.param_groups[0]["lr"]}
        trainer.report(f"step {used.steps}, {used.trained_s / 60:.1f} min", used.steps, values)
        trainer.checkpoint()
        save_with_card(options.out, card, averaged.module, interim or Evaluation())
        if used.trained_s >= budget_s:
            return


def _cut_gradients(weights: list[nn.Parameter]) -> None:
    nn.utils.clip_grad_norm_(weights, LARGEST_GRADIENT)


def learning_rate_share(share: float) -> float:
    """Return the share of the learning rate: a linear warm-up, then a cosine to 1 %, by the time used."""
    if share < WARM_UP_SHARE:
        return max(share, 0.002) / WARM_UP_SHARE
    progress = min((share - WARM_UP_SHARE) / (1 - WARM_UP_SHARE), 1.0)
    return float(0.01 + 0.99 * (1 + np.cos(np.pi * progress)) / 2)


Tensors = tuple[Tensor, ...] | list[Tensor]


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Return a moving average that forgets faster at first: by (1 + n) / (10 + n) after n updates.

    The weights at the start are then soon forgotten, however slow the average is later.
    """

    def update(averaged: Tensors, current: Tensors, n: Tensor | int) -> None:
        get_ema_multi_avg_fn(min(decay, (1 + int(n)) / (10 + int(n))))(averaged, current, n)

    return update
