import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lungct.anatomy.lungs import pad_to_stride
from lungct.inference.weights import save_model
from lungct.networks.lobe_unet import N_CLASSES, STRIDE
from training.augment import random_consolidation, random_warp
from training.common import Options, Trainer, initial_network, learning_rate_share
from training.lobe_examples import augmented, real_example
from training.opacity_examples import random_views, square
from training.train_lobes import lobe_loss
from training.volumes import read_real_chest, read_split, threshold_lungs

SPLITS = ("anatomies", "real_chests")
REAL_CT = os.environ.get("LUNGCT_REAL_CT")
needs_real_ct = pytest.mark.skipif(REAL_CT is None, reason="LUNGCT_REAL_CT is not set")


@pytest.mark.parametrize("name", SPLITS)
def test_parts_of_a_split_do_not_overlap(name: str) -> None:
    cases = [case for part in read_split(name).values() for case in part]
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


def _toy_example() -> dict[str, np.ndarray]:
    target = np.zeros((N_CLASSES, 20, 24, 28), np.uint8)
    target[1, 4:16, 6:18, 15:24] = 255
    target[3, 4:16, 6:18, 4:13] = 255
    target[0] = 255 - target[1:].sum(0)
    image = np.where(target[0] > 0, 0.9, 0.25).astype(np.float16)
    return {"image": image, "target": target, "weight": np.full(image.shape, 255, np.uint8)}


def test_augmented_views_fit_the_network_and_keep_the_sides() -> None:
    image, target, weight = augmented(_toy_example(), torch.Generator().manual_seed(0))
    assert all(n % STRIDE == 0 for n in image.shape[2:])
    assert torch.allclose(target.sum(1), torch.ones(()), atol=0.02)
    assert weight.max() <= 1 + 1e-5
    columns = torch.arange(target.shape[4]).float()
    left, right = (
        (target[0, label].sum((0, 1)) * columns).sum() / target[0, label].sum() for label in (1, 3)
    )
    assert left > right


def test_consolidation_stays_inside_the_lungs_and_never_lightens() -> None:
    lobes = torch.zeros(1, 5, 16, 20, 24)
    lobes[:, 1, 4:12, 4:16, 4:20] = 1
    image = torch.full((1, 1, 16, 20, 24), 0.3)
    changes = [
        random_consolidation(image, lobes, torch.Generator().manual_seed(seed)) - image for seed in range(20)
    ]
    assert max(float((change * (1 - lobes[:, 1:2])).abs().max()) for change in changes) == 0
    assert min(float(change.min()) for change in changes) >= 0
    assert 8 < sum(bool(change.any()) for change in changes) < 20


def test_warp_without_range_is_the_identity() -> None:
    grid = random_warp((6, 8, 10), torch.Generator().manual_seed(0), 0.0, 0.0, 0.0)
    image = torch.rand(1, 1, 6, 8, 10)
    assert torch.allclose(torch.nn.functional.grid_sample(image, grid, align_corners=False), image, atol=1e-4)


def test_two_classes_supervise_the_sum_of_the_lobes() -> None:
    logits = torch.full((1, N_CLASSES, 4, 4, 4), -9.0)
    logits[:, 2] = 9.0
    lung = torch.zeros(1, 2, 4, 4, 4)
    lung[:, 1] = 1
    everywhere = torch.ones(1, 1, 4, 4, 4)
    assert lobe_loss(logits, lung, everywhere) < 0.01
    assert lobe_loss(logits, lung.flip(1), everywhere) > 1


def test_training_lowers_the_loss_and_resumes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, N_CLASSES, 1)
    image, target, weight = (pad_to_stride(t) for t in _toy_tensors())
    losses: list[float] = []

    def loss_of_step(*_: float) -> torch.Tensor:
        loss = lobe_loss(network(image), target, weight)
        losses.append(float(loss.detach()))
        return loss

    trainer = Trainer(network, tmp_path, learning_rate=0.05, decay=0.5)
    trainer.train(loss_of_step, budget_s=0.5, on_checkpoint=lambda _: None)
    assert losses[-1] < losses[0]
    resumed = Trainer(torch.nn.Conv3d(1, N_CLASSES, 1), tmp_path, learning_rate=0.05, decay=0.5)
    resumed.resume()
    assert resumed.steps == trainer.steps
    assert torch.equal(resumed.network.weight, network.weight)


def _toy_tensors() -> tuple[torch.Tensor, ...]:
    example = _toy_example()
    return tuple(
        torch.from_numpy(example[key]).float().reshape(1, -1, 20, 24, 28) / scale
        for key, scale in (("image", 1), ("target", 255), ("weight", 255))
    )


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
    example = real_example(Path(str(REAL_CT)), "pyradiomics-lung2", 0)
    assert example["target"].shape[0] == 2
    assert example["image"].shape == example["weight"].shape == example["target"].shape[1:]


def test_training_from_a_model_begins_with_its_weights(tmp_path: Path) -> None:
    known = nn.Linear(2, 1)
    save_model(tmp_path / "known", known, {"version": "0"})
    options = Options(
        tmp_path, tmp_path, minutes=1, seed=1, start=tmp_path / "known", resume=False, evaluate=False
    )
    begun = initial_network(options, lambda: nn.Linear(2, 1))
    assert torch.allclose(begun.weight, known.weight, atol=1e-3)
