"""Options of a training run, and the run from there to the model card."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat
from torch import Tensor, nn

from lungct.networks.device import choose_device, keep_freed_memory
from lungct.networks.weights import LoadedModel, load_model
from lungct_research.datasets.examples import N_WORKERS, RUNS_DIR
from lungct_research.evaluation.model_cards import Card, Evaluation, save_with_card
from lungct_research.training.trainer import CPU, Trainer


@dataclass(frozen=True)
class Options:
    """Options of a training run.

    Attributes:
        data: folder with the CT data.
        out: ``models/<name>``.
        minutes: training time, building the cache not counted.
        start: ``models/<name>`` whose weights training begins with; from scratch where None.
        resume: go on from the last checkpoint.
        evaluate: measure the weights in ``out`` instead of training.
        config: recipe; that of ``lungct_research/training/configs`` where None.
        device: where to train.
    """

    data: Path
    out: Path
    minutes: float
    seed: int
    start: Path | None
    resume: bool
    evaluate: bool
    config: Path | None = None
    device: torch.device = CPU

    @property
    def run_dir(self) -> Path:
        """Where checkpoints and the log of this model go."""
        return RUNS_DIR / self.out.name


Kind = TypeVar("Kind", bound=Options)


def read_options(asked: Mapping[str, Any], kind: type[Kind]) -> Kind:
    """Turn what the command line asks for into options; without a data folder the working one is taken."""
    device = choose_device(asked["device"])
    return kind(**{**asked, "data": asked["data"] or Path(), "device": device})


class Recipe(BaseModel):
    """What the recipes in ``lungct_research/training/configs`` have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: PositiveFloat
    average_decay: Annotated[float, Field(gt=0, lt=1)]


R = TypeVar("R", bound=BaseModel)


def read_recipe(path: Path, kind: type[R]) -> R:
    """A recipe file, checked.

    Raises:
        ValueError: a key is missing, unknown or out of range; the message names it.
    """
    return kind.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def prepare_process(seed: int) -> None:
    """Allocator, threads and seeds; call once before the first large array."""
    keep_freed_memory()
    torch.set_num_threads(N_WORKERS)
    torch.manual_seed(seed)


NOTHING_MEASURED = Evaluation()


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
    loaded = load_model(options.out.parent, options.out.name, build, torch.device("cpu"))
    with torch.inference_mode():
        evaluation = evaluate(options, loaded)
    write_metrics(options.run_dir, {**evaluation.metrics, "parameters": evaluation.parameters})
    save_with_card(options.out, card, loaded.network, evaluation)


Network = TypeVar("Network", bound=nn.Module)


def initial_network(options: Options, build: Callable[[], Network]) -> Network:
    """The network that training begins with: untrained, or with the weights that ``--from`` names."""
    if options.start is None:
        return build()
    loaded = load_model(options.start.parent, options.start.name, build, torch.device("cpu"))
    return cast(Network, loaded.network)


def channels_last(network: Network) -> Network:
    """Store the weights of a 2-D network with their channels last, which is faster."""
    arranged: Network = cast(Any, network).to(memory_format=torch.channels_last)
    return arranged


def fit(
    options: Options,
    card: Card,
    trainer: Trainer,
    loss_of_step: Callable[[int, float], Tensor],
    interim: Evaluation = NOTHING_MEASURED,
) -> None:
    """Train for the asked minutes, on request from the last checkpoint, saving interim weights."""
    if options.resume:
        trainer.resume()

    def save(averaged: nn.Module) -> None:
        save_with_card(options.out, card, averaged, interim)

    trainer.train(loss_of_step, options.minutes * 60, save)


def step_generator(options: Options, step: int) -> torch.Generator:
    """Randomness of one training step on the training device, the same after a resume."""
    return torch.Generator(options.device).manual_seed(options.seed * 1_000_003 + step)


def write_metrics(run_dir: Path, metrics: dict[str, Any]) -> None:
    """Print measured values and keep them as ``metrics.json`` of the run."""
    text = json.dumps(metrics, indent=2)
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "metrics.json").write_text(text + "\n", encoding="utf-8")
    print(text, flush=True)
