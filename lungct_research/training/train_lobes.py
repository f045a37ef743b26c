"""Train the network of lungs and lobes, as ``lungct train lungs`` does.

Examples are synthetic chests around expert lobes, phantoms, and real chests without infection, of which only
the lungs are known: there the loss sees the sum of the five lobes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lungct.anatomy.lungs import segment_lobes
from lungct.networks import LobeUNet
from lungct.networks.weights import LoadedModel
from lungct_research.evaluation import lobes as evaluation
from lungct_research.evaluation.model_cards import Evaluation
from lungct_research.training.common import (
    RECIPES_DIR,
    Forward,
    Options,
    fit,
    initial_network,
    read_card,
    read_recipe,
    train_and_evaluate,
)
from lungct_research.training.lobe_examples import (
    IGNORED,
    UNKNOWN_LOBE,
    LobeRecipe,
    augmented,
    training_examples,
    view_shape,
)

DEFAULT_RECIPE = RECIPES_DIR / "lobes.yaml"


def lobe_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return cross-entropy plus Dice; where only lung is known, the lobes count as one.

    Args:
        logits: ``[1, 6, slices, rows, columns]``.
        labels: ``[slices, rows, columns]``; classes, ``UNKNOWN_LOBE`` or ``IGNORED``.
    """
    share = functional.softmax(logits[0].float(), dim=0)
    classes = list(range(len(share)))
    if (labels == UNKNOWN_LOBE).any():
        share, classes = torch.stack([share[0], share[1:].sum(0)]), [0, UNKNOWN_LOBE]
    known = labels != IGNORED
    target = torch.stack([labels == label for label in classes]).to(share)
    entropy = -((share * target).sum(0).clamp_min(1e-6).log() * known).mean()
    share, target = (share * known)[1:], target[1:]
    overlap = 2 * (share * target).sum((1, 2, 3)) + 1
    dice = overlap / (share.square().sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1)
    return entropy + (1 - dice).mean()


def train(options: Options) -> None:
    """Train, saving interim weights with every checkpoint."""
    recipe = read_recipe(options.config or DEFAULT_RECIPE, LobeRecipe)
    examples = [
        [torch.from_numpy(example[key]).to(options.device) for key in ("image", "labels")]
        for example in training_examples(options, recipe)
    ]
    network = initial_network(options, LobeUNet)
    for name, weights in network.named_parameters():
        weights.requires_grad_(not name.startswith(recipe.frozen))

    def loss_of_step(forward: Forward, generator: torch.Generator, _: float) -> Tensor:
        shape = view_shape(recipe, generator)
        picks = torch.randint(len(examples), (recipe.batch,), generator=generator, device=options.device)
        chosen = [examples[index] for index in picks.tolist()]
        views = [augmented(image, labels, shape, generator) for image, labels in chosen]
        logits = forward(torch.stack([image for image, _ in views])[:, None])
        losses = [lobe_loss(one[None], labels) for one, (_, labels) in zip(logits, views, strict=True)]
        return torch.stack(losses).mean()

    fit(options, read_card("lungs"), network, recipe, loss_of_step)


def evaluate(options: Options, model: LoadedModel) -> Evaluation:
    """Measure lungs and lobes as :mod:`lungct_research.evaluation.lobes` does."""
    return Evaluation(evaluation.evaluate(options.data, lambda volume: segment_lobes(volume, model).lobes))


def run(options: Options) -> None:
    """Train unless only measuring was asked for, measure, and write the model folder."""
    train_and_evaluate(read_card("lungs"), LobeUNet, train, evaluate, options)
