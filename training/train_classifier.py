"""Train the classifier: ``python -m training.train_classifier --data DIR --out models/classifier``.

The cohort is synthetic: every real chest without infection and every synthetic one appears in all three
classes, so that nothing but the painted infection tells them apart; phantoms bring their own. With
``--manifest FILE`` the cases of a site take its place, and training goes by epochs as in the paper; with
``--config FILE`` alone it goes by epochs on the synthetic cohort. Both run under ``torchrun`` too.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from sklearn.metrics import confusion_matrix, roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from lungct.errors import LungCtError
from lungct.inference.weights import LoadedModel
from lungct.networks import Classifier3d
from lungct.networks.classifier3d import CLASSES
from lungct.preprocessing import CLASSIFIER_SHAPE, classifier_input
from phantom.thorax import make_thorax
from training.augment import random_intensity, random_warp
from training.cards import CLASSIFIER
from training.common import (
    Evaluation,
    Example,
    Options,
    build_examples,
    fit,
    initial_network,
    joined,
    load_examples,
    options_parser,
    read_options,
    run_script,
    step_generator,
)
from training.epoch_runs import (
    Cohort,
    EpochOptions,
    add_epoch_options,
    labelled_items,
    run_epochs,
    site_cohort,
)
from training.fields import FloatArray
from training.hosts import real_host, synthetic_host, with_confounder
from training.lesions import Host, Pattern, add_infection
from training.manifest import PARTS
from training.processes import Processes
from training.trainer import Trainer
from training.volumes import read_split

HOST_SPACING_MM = (4.0, 1.7, 1.7)
PATTERN_OF_CLASS = {"covid19": Pattern.COVID, "other_infection": Pattern.OTHER, "no_infection": None}
PHANTOM_OF_CLASS = {"covid19": "covid", "other_infection": "pneumonia", "no_infection": None}
N_REAL_TRIPLES, N_PHANTOM_TRIPLES = 7, 8
N_VALIDATION_PHANTOM_TRIPLES = 3
FIRST_PHANTOM, FIRST_VALIDATION_PHANTOM = 30_000, 920_000
SMALL_SHAPE = (32, 112, 112)
SMALL_SHARE = 0.6
"""Share of the budget spent at half the size, where a step is eight times as fast."""
SMALL_BATCH, LARGE_BATCH = 10, 4
LEARNING_RATE = 1e-3
AVERAGE_DECAY = 0.98
PART_SIZES = {
    "train": (N_REAL_TRIPLES, range(FIRST_PHANTOM, FIRST_PHANTOM + N_PHANTOM_TRIPLES)),
    "validation": (
        3,
        range(FIRST_VALIDATION_PHANTOM, FIRST_VALIDATION_PHANTOM + N_VALIDATION_PHANTOM_TRIPLES),
    ),
    "test": (0, range(0)),
}
"""Copies of every real chest, and seeds of phantoms."""


def _volume(volume_hu: FloatArray, lungs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Classifier input as uint8 of 255, the lung mask a voxel wider or narrower at random."""
    change = rng.integers(-1, 2)
    mask = lungs > 0
    if change:
        mask = (ndimage.binary_dilation if change > 0 else ndimage.binary_erosion)(mask)
    tensor = classifier_input(torch.from_numpy(volume_hu), torch.from_numpy(mask))
    return np.round(255 * tensor[0, 0].numpy()).astype(np.uint8)


def _triple(host: Host, rng: np.random.Generator) -> list[np.ndarray]:
    """The host in every class, in the order of ``CLASSES``."""
    volumes = []
    for name in CLASSES:
        base = with_confounder(host, rng)
        pattern = PATTERN_OF_CLASS[name]
        volume_hu = base.volume_hu if pattern is None else add_infection(base, rng, pattern)[0]
        volumes.append(_volume(volume_hu, host.lungs, rng))
    return volumes


def real_triples(data_dir: Path, name: str, seed: int, n_triples: int) -> Example:
    """One real chest several times in all classes."""
    host = real_host(data_dir, name, HOST_SPACING_MM)
    rng = np.random.default_rng([seed, len(name), ord(name[-1])])
    return _labelled([volume for _ in range(n_triples) for volume in _triple(host, rng)])


def synthetic_triples(data_dir: Path, anatomy: str, seed: int) -> Example:
    """A synthetic chest in all classes."""
    rng = np.random.default_rng([seed, int(anatomy)])
    return _labelled(_triple(synthetic_host(data_dir, anatomy, rng, HOST_SPACING_MM), rng))


def phantom_triples(seed: int) -> Example:
    """One phantom person in all classes."""
    rng = np.random.default_rng(seed)
    volumes = []
    for name in CLASSES:
        phantom = make_thorax(seed, spacing_mm=HOST_SPACING_MM, pattern=PHANTOM_OF_CLASS[name])
        volumes.append(_volume(phantom.volume_hu.astype(np.float32), phantom.lobes, rng))
    return _labelled(volumes)


def _labelled(volumes: list[np.ndarray]) -> Example:
    return {"volume": np.stack(volumes), "label": np.arange(len(volumes)) % len(CLASSES)}


def cohort(options: Options, part: str, n_real_triples: int, phantom_seeds: range) -> Example:
    """All volumes of one part of the split."""
    return joined(load_examples(cohort_files(options, part, n_real_triples, phantom_seeds)))


def cohort_files(options: Options, part: str, n_real_triples: int, phantom_seeds: range) -> list[Path]:
    """Cached examples of one part of the split."""
    folder = options.run_dir / f"seed{options.seed}" / part
    jobs = {
        name: (options.data, name, options.seed, n_real_triples) for name in read_split("real_chests")[part]
    }
    paths = build_examples(folder / "real", jobs, real_triples)
    jobs = {name: (options.data, name, options.seed) for name in read_split("anatomies")[part]}
    paths += build_examples(folder / "synthetic", jobs, synthetic_triples)
    return paths + build_examples(
        folder / "phantoms", {str(seed): (seed,) for seed in phantom_seeds}, phantom_triples
    )


def random_views(volumes: Tensor, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Moved volumes with changed intensity inside the lungs, ``[batch, 1, *shape]``."""
    views = []
    for volume in volumes:
        grid = random_warp(shape, generator, max_degrees=8, max_scale=0.1, bend_voxels=1.0)
        moved = functional.grid_sample(volume[None, None], grid, align_corners=False)
        views.append(random_intensity(moved, generator) * (moved > 0.02))
    return torch.cat(views)


def train(options: Options) -> None:
    """Train, saving interim weights with every checkpoint."""
    volumes = cohort(options, "train", *PART_SIZES["train"])
    network = initial_network(options, Classifier3d)

    def loss_of_step(step: int, share: float) -> Tensor:
        small = share < SMALL_SHARE
        generator = step_generator(options, step)
        n = SMALL_BATCH if small else LARGE_BATCH
        picks = torch.randint(len(volumes["label"]), (n,), generator=generator).numpy()
        batch = torch.from_numpy(volumes["volume"][picks]).float() / 255
        views = random_views(batch, SMALL_SHAPE if small else CLASSIFIER_SHAPE, generator)
        labels = torch.from_numpy(volumes["label"][picks])
        return functional.cross_entropy(
            network(views.to(options.device)), labels.to(options.device), label_smoothing=0.05
        )

    trainer = Trainer(network, options.run_dir, LEARNING_RATE, AVERAGE_DECAY, options.device)
    fit(options, CLASSIFIER, trainer, loss_of_step)


def class_probabilities(network: nn.Module, volumes: np.ndarray) -> np.ndarray:
    """Softmax ``[volumes, 3]`` of uint8 classifier inputs."""
    rows = [network(torch.from_numpy(volume).float()[None, None] / 255).softmax(1) for volume in volumes]
    return torch.cat(rows).numpy()


def _summary(shares: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    chosen = shares.argmax(1)
    return {
        "volumes": len(labels),
        "accuracy": round(float((chosen == labels).mean()), 3),
        "auroc": {
            name: round(float(roc_auc_score(labels == i, shares[:, i])), 3) for i, name in enumerate(CLASSES)
        },
        "confusion_rows_true": confusion_matrix(labels, chosen).tolist(),
    }


def evaluate(options: Options, model: LoadedModel) -> Evaluation:
    """Accuracy and AUROC on synthetic patients whose anatomy or seed training never saw."""
    metrics = {}
    for part in ("validation", "test"):
        volumes = cohort(options, part, *PART_SIZES[part])
        metrics[part] = _summary(class_probabilities(model.network, volumes["volume"]), volumes["label"])
    return metrics, {}


def synthetic_cohort(options: EpochOptions, processes: Processes) -> Cohort:
    """The synthetic patients as items, made by the first process."""
    parts = {}
    for part in PARTS:
        with processes.first_alone():
            parts[part] = labelled_items(cohort_files(options, part, *PART_SIZES[part]))
    name = options.config.name if options.config else ""
    limits = tuple(limit for limit in CLASSIFIER.limits if "minutes" not in limit)
    measured = {"data": "synthetic", "cases": len(parts["validation"]), "institutions": 0}
    card = replace(CLASSIFIER, limits=limits, history=f"by epochs after {name}.", validated_on=measured)
    return Cohort(parts, card)


def main() -> int:
    """Train; returns the exit code."""
    parser = options_parser(__doc__ or "", "models/classifier", 12)
    add_epoch_options(parser)
    arguments = parser.parse_args()
    if arguments.data is None and arguments.manifest is None:
        parser.error("name --manifest FILE, or the data folder with --data or LUNGCT_REAL_CT")
    if arguments.evaluate and (arguments.manifest or arguments.config):
        parser.error("--evaluate measures on the synthetic cohort: use python -m evaluation.classifier")
    options = read_options(arguments, EpochOptions)
    if options.manifest is None and options.config is None:
        run_script(CLASSIFIER, Classifier3d, train, evaluate, options)
        return 0
    try:
        run_epochs(options, site_cohort if options.manifest else synthetic_cohort)
    except LungCtError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
