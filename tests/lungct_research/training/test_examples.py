import os
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from lungct.errors import InputError
from lungct.networks.classifier3d import CLASSES
from lungct.networks.inputs import CLASSIFIER_SHAPE, SEGMENTER_SHAPE
from lungct.networks.lobe_unet import N_CLASSES, STRIDE, LobeUNet
from lungct.networks.weights import save_model
from lungct.records import Lobe
from lungct_research.datasets.volumes import read_real_chest, read_split
from lungct_research.synthesis.hosts import square, threshold_lungs
from lungct_research.training.augment import random_consolidation, random_warp
from lungct_research.training.common import (
    Forward,
    Options,
    Recipe,
    TimeUsed,
    fit,
    initial_network,
    learning_rate_share,
    moving_average,
    read_card,
    read_recipe,
)
from lungct_research.training.lobe_examples import (
    IGNORED,
    UNKNOWN_LOBE,
    LobeRecipe,
    augmented,
    real_example,
    view_shape,
)
from lungct_research.training.opacity_examples import random_views
from lungct_research.training.train_lobes import DEFAULT_RECIPE, lobe_loss
from lungct_research.training.trainer import Trainer

LARGEST_VIEW = (96, 96, 128)
SPLITS = ("anatomies", "real_chests", "lung_outlines")
REAL_CT = os.environ.get("LUNGCT_REAL_CT")
needs_real_ct = pytest.mark.skipif(REAL_CT is None, reason="LUNGCT_REAL_CT is not set")


@pytest.mark.parametrize("name", SPLITS)
def test_parts_of_a_split_do_not_overlap(name: str) -> None:
    split = read_split(name)
    cases = [case for part in ("train", "validation", "test") for case in split[part]]
    assert len(cases) == len(set(cases))


@pytest.mark.parametrize("name", SPLITS)
def test_the_test_case_is_in_no_split(name: str) -> None:
    assert all("lidc-0001" not in cases for cases in read_split(name).values())


def test_anatomies_are_split_38_5_8() -> None:
    assert {part: len(cases) for part, cases in read_split("anatomies").items()} == {
        "train": 38,
        "validation": 5,
        "test": 8,
    }


def _toy_example() -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.zeros(20, 24, 28, dtype=torch.uint8)
    labels[4:16, 6:18, 15:24] = Lobe.LEFT_UPPER.label
    labels[4:16, 6:18, 4:13] = Lobe.RIGHT_UPPER.label
    return torch.where(labels > 0, 0.25, 0.9).half(), labels


def test_shapes_of_views_fit_the_network_and_the_recipe() -> None:
    recipe = read_recipe(DEFAULT_RECIPE, LobeRecipe)
    shapes = {view_shape(recipe, torch.Generator().manual_seed(seed)) for seed in range(40)}
    assert len(shapes) == 8
    bounds = list(zip(recipe.smallest_view, recipe.largest_view, strict=True))
    for shape in shapes:
        assert all(n % STRIDE == 0 and low <= n <= high for n, (low, high) in zip(shape, bounds, strict=True))


def test_augmented_views_keep_the_sides() -> None:
    image, labels = augmented(*_toy_example(), LARGEST_VIEW, torch.Generator().manual_seed(0))
    assert image.shape == labels.shape == LARGEST_VIEW
    left, right = (
        (labels == lobe.label).nonzero()[:, 2].float().mean() for lobe in (Lobe.LEFT_UPPER, Lobe.RIGHT_UPPER)
    )
    assert left > right


def test_views_of_large_chests_show_the_lungs() -> None:
    labels = torch.zeros(150, 140, 170, dtype=torch.uint8)
    labels[60:140, 30:110, 40:130] = Lobe.LEFT_UPPER.label
    image = torch.where(labels > 0, 0.25, 0.9)
    for seed in range(5):
        _, seen = augmented(image, labels, LARGEST_VIEW, torch.Generator().manual_seed(seed))
        assert seen.count_nonzero() > 0.5 * labels.count_nonzero()


def test_consolidation_stays_inside_the_lungs_and_never_lightens() -> None:
    labels = torch.zeros(32, 40, 48, dtype=torch.uint8)
    labels[8:24, 8:32, 8:40] = 2
    image = torch.full(labels.shape, 0.3)
    changes = [
        random_consolidation(image, labels, 2.5, torch.Generator().manual_seed(seed)) - image
        for seed in range(20)
    ]
    assert max(float((change * (labels == 0)).abs().max()) for change in changes) == 0
    assert min(float(change.min()) for change in changes) >= 0
    assert 8 < sum(bool(change.any()) for change in changes) < 20


def test_some_consolidations_keep_air_in_their_bronchi() -> None:
    labels = torch.ones(48, 48, 48, dtype=torch.uint8)
    image = torch.full(labels.shape, 0.15)
    has_air = []
    for seed in range(40):
        solid = random_consolidation(image, labels, 2.5, torch.Generator().manual_seed(seed)) > 0.5
        closed = ndimage.binary_closing(np.pad(solid.numpy(), 8), iterations=6)[8:-8, 8:-8, 8:-8]
        if solid.sum() > 2000:
            has_air.append(int(np.count_nonzero(closed & ~solid.numpy())) > 20)
    assert any(has_air)
    assert not all(has_air)


def test_warp_without_range_is_the_identity() -> None:
    grid = random_warp((6, 8, 10), torch.Generator().manual_seed(0), 0.0, 0.0, 0.0)
    image = torch.rand(1, 1, 6, 8, 10)
    assert torch.allclose(torch.nn.functional.grid_sample(image, grid, align_corners=False), image, atol=1e-4)


def test_unknown_lobes_supervise_the_sum_of_the_lobes() -> None:
    logits = torch.full((1, N_CLASSES, 4, 4, 4), -9.0)
    logits[:, 2] = 9.0
    lung = torch.full((4, 4, 4), UNKNOWN_LOBE, dtype=torch.uint8)
    assert lobe_loss(logits, lung) < 0.01
    lung[0] = 0
    assert lobe_loss(logits, lung) > 1


def test_ignored_voxels_ask_nothing() -> None:
    logits = torch.randn(1, N_CLASSES, 4, 4, 4, requires_grad=True)
    labels = torch.full((4, 4, 4), IGNORED, dtype=torch.uint8)
    labels[0] = 1
    lobe_loss(logits, labels).backward()
    assert logits.grad is not None
    assert not logits.grad[:, :, 1:].any()
    assert logits.grad[:, :, 0].any()


def test_training_lowers_the_loss_and_goes_on_where_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticking = SimpleNamespace(monotonic=count(step=0.01).__next__)
    monkeypatch.setattr("lungct_research.training.common.time", ticking)
    monkeypatch.chdir(tmp_path)
    image, labels = _toy_example()
    steps: list[int] = []
    losses: list[float] = []

    def train(network: nn.Module, seconds: float, *, resume: bool) -> None:
        def loss_of_step(forward: Forward, generator: torch.Generator, _: float) -> torch.Tensor:
            loss = lobe_loss(forward(image.float()[None, None]), labels)
            steps.append(generator.initial_seed() - 1_000_003)
            losses.append(float(loss.detach()))
            return loss

        options = Options(tmp_path, tmp_path / "toy", minutes=seconds / 60, seed=1, resume=resume)
        recipe = Recipe(learning_rate=0.05, average_decay=0.5)
        fit(options, read_card("lungs"), network, recipe, loss_of_step)

    torch.manual_seed(0)
    train(nn.Conv3d(1, N_CLASSES, 1), 0.5, resume=False)
    assert losses[-1] < 0.9 * losses[0]
    n = len(steps)
    train(nn.Conv3d(1, N_CLASSES, 1), 0.55, resume=True)
    assert steps == list(range(len(steps)))
    assert len(steps) > n
    assert losses[n] < 0.9 * losses[0]


def test_resuming_without_a_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    trainer = Trainer(nn.Linear(1, 1), tmp_path / "checkpoint.pt", TimeUsed())
    with pytest.raises(InputError, match=r"checkpoint\.pt is missing: leave out --resume"):
        trainer.resume()


def test_moving_average_soon_forgets_the_start() -> None:
    averaged, current = [torch.ones(1)], [torch.zeros(1)]
    update = moving_average(0.999)
    for n in range(1, 40):
        update(averaged, current, n)
    assert float(averaged[0]) < 1e-6


def test_learning_rate_rises_then_falls() -> None:
    shares = [learning_rate_share(share) for share in (0.0, 0.05, 0.5, 1.0)]
    assert shares[0] < shares[1] > shares[2] > shares[3] > 0


def test_slices_become_square_and_views_follow_their_masks() -> None:
    assert square(np.zeros((2, 5, 8)), -1.0).shape == (2, 8, 8)
    images = torch.zeros(3, 320, 320)
    images[:, 100:200, 80:160] = 0.8
    lit = (images > 0).float()
    views, masks, lungs = random_views(images, lit, lit, 160, torch.Generator().manual_seed(1))
    assert views.shape == (3, 3, 160, 160)
    assert torch.equal(masks, lungs)
    assert views[:, :1][masks > 0.9].mean() > views[:, :1][masks < 0.1].mean() + 0.3


@needs_real_ct
def test_threshold_lungs_of_a_real_chest() -> None:
    volume_hu, spacing_mm = read_real_chest(Path(str(REAL_CT)), "lidc-0003")
    lungs, airways = threshold_lungs(volume_hu[::4, ::4, ::4], tuple(4 * step for step in spacing_mm))
    litres = lungs.sum() * np.prod(spacing_mm) * 64 / 1e6
    assert 2 < litres < 9
    assert airways.any()


@needs_real_ct
def test_real_example_supervises_lungs_only() -> None:
    example = real_example(Path(str(REAL_CT)), "pyradiomics-lung2", 0, 0.5)
    assert example["image"].shape == example["labels"].shape
    assert set(np.unique(example["labels"])) == {0, UNKNOWN_LOBE, IGNORED}


def test_training_from_a_model_begins_with_its_weights(tmp_path: Path) -> None:
    known = nn.Linear(2, 1)
    save_model(tmp_path / "known", known, {"version": "0"})
    options = Options(tmp_path, tmp_path, minutes=1, seed=1, start=tmp_path / "known")
    begun = initial_network(options, lambda: nn.Linear(2, 1))
    assert torch.allclose(begun.weight, known.weight, atol=1e-3)


@pytest.mark.parametrize("name", ["lobes.yaml", "lobes_cpu.yaml"])
def test_shipped_recipe_is_valid_and_views_fit_the_network(name: str) -> None:
    recipe = read_recipe(DEFAULT_RECIPE.with_name(name), LobeRecipe)
    assert all(n % STRIDE == 0 for n in (*recipe.smallest_view, *recipe.largest_view))


@pytest.mark.parametrize(
    ("network", "outputs", "input_shape"),
    [
        ("lungs", ("background", *map(str, Lobe)), (f"{STRIDE}*n",) * 3),
        ("opacity", ("opacity",), SEGMENTER_SHAPE),
        ("classifier", CLASSES, CLASSIFIER_SHAPE),
    ],
)
def test_cards_describe_the_networks(network: str, outputs: tuple, input_shape: tuple) -> None:
    card = read_card(network)
    assert (card.name, card.outputs, card.input_shape) == (network, outputs, input_shape)


def test_frozen_weights_of_a_recipe_are_weights_of_the_network() -> None:
    recipe = read_recipe(DEFAULT_RECIPE.with_name("lobes_cpu.yaml"), LobeRecipe)
    names = [name for name, _ in LobeUNet().named_parameters()]
    assert all(any(name.startswith(begin) for name in names) for begin in recipe.frozen)


def test_views_show_shorter_lungs_where_the_diaphragm_has_risen() -> None:
    image, labels = _toy_example()
    full = sum(_lung_heights(image, labels, seed) for seed in range(30)) / 30
    assert full < 0.95 * 12 * 2


def _lung_heights(image: torch.Tensor, labels: torch.Tensor, seed: int) -> int:
    """Slices of the left and of the right lung in one view, together."""
    _, seen = augmented(image, labels, (32, 32, 32), torch.Generator().manual_seed(seed))
    lobes = (Lobe.LEFT_UPPER, Lobe.RIGHT_UPPER)
    return sum(int((seen == lobe.label).any(dim=2).any(dim=1).sum()) for lobe in lobes)


def test_recipe_with_a_misspelt_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lobes.yaml").write_text(DEFAULT_RECIPE.read_text().replace("phantoms:", "fantoms:"))
    with pytest.raises(ValueError, match="fantoms"):
        read_recipe(tmp_path / "lobes.yaml", LobeRecipe)
