from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lungct.networks import opacity_unet
from lungct.networks.weights import WEIGHTS_FILE
from lungct_research.evaluation.model_cards import Evaluation
from lungct_research.synthesis.lesions import Kind
from lungct_research.training import staged
from lungct_research.training.common import Options, read_card, read_recipe
from lungct_research.training.staged import (
    PAPER_RECIPE,
    Stage,
    StagedRecipe,
    StagesDone,
    find_rate,
    run_stage,
    spread_rates,
    stage_loader,
    train_by_stages,
)
from lungct_research.training.train_opacity import Prediction, make_card, mean_dice_by_kind
from lungct_research.training.trainer import Trainer

CPU = torch.device("cpu")
SHIPPED = read_recipe(PAPER_RECIPE, StagedRecipe)
FROZEN, UNFROZEN = (Stage(size=64, batch=4, frozen=frozen, epochs=1) for frozen in (True, False))
TINY = SHIPPED.model_copy(update={"stages": (FROZEN, UNFROZEN), "finder_steps": 4})


def slices() -> dict[str, np.ndarray]:
    """Eight slices of 64 x 64 with a bright square, which is the opacity."""
    image = np.random.default_rng(0).uniform(0.1, 0.3, (8, 64, 64)).astype(np.float16)
    mask = np.zeros(image.shape, np.uint8)
    mask[:, 8:28, 36:56] = 255
    return {"image": np.where(mask, np.float16(0.8), image), "mask": mask}


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in network.named_parameters()}


def changed(before: dict[str, torch.Tensor], network: torch.nn.Module, part: str) -> bool:
    return any(not torch.equal(before[n], w) for n, w in network.named_parameters() if n.startswith(part))


def test_the_shipped_recipe_is_that_of_the_paper() -> None:
    assert [stage.size for stage in SHIPPED.stages] == [128, 128, 256, 256, 320, 320]
    assert [stage.batch for stage in SHIPPED.stages] == [64, 64, 64, 64, 32, 32]
    assert [stage.frozen for stage in SHIPPED.stages] == [True, False] * 3
    assert sum(stage.epochs for stage in SHIPPED.stages) == 50
    assert SHIPPED.learning_rate_range == (1e-7, 1e-2)
    assert (SHIPPED.rotation_degrees, SHIPPED.zoom, SHIPPED.lighting) == (20, 0.05, 0.1)


def test_the_model_card_says_how_the_weights_were_trained(tmp_path: Path) -> None:
    usual = Options(tmp_path, tmp_path, minutes=1, seed=1)
    staged_run = Options(tmp_path, tmp_path, minutes=1, seed=1, config=PAPER_RECIPE)
    assert any("AdamW" in limit for limit in make_card(usual).limits)
    assert not any("AdamW" in limit for limit in make_card(staged_run).limits)
    assert "opacity_paper.yaml" in make_card(staged_run).history


def test_dice_is_averaged_over_the_painted_chests_that_have_a_kind() -> None:
    label = Kind.NODULE.label
    found = np.array([[[0.9, 0.9, 0.1, 0.1]]], np.float32)
    coarse_mm = (5.0, 5.0, 5.0)
    all_found, half_found = (np.array([[[label, b, c, 0]]], np.uint8) for b, c in ((label, 0), (0, label)))
    chest = found, np.full(found.shape, -700.0, np.float32), np.ones(found.shape, bool)
    cases = [Prediction(*chest, kinds > 0, coarse_mm, kinds) for kinds in (all_found, half_found)]
    cases += [Prediction(*chest, found > 0.5, coarse_mm)]
    cases += [Prediction(*chest, found > 1, coarse_mm, np.zeros((1, 1, 4), np.uint8))]
    assert mean_dice_by_kind(cases, 0.5) == {"nodule": 0.75}


def test_a_size_that_the_network_cannot_take_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        Stage(size=100, batch=1, frozen=True, epochs=1)


def test_views_have_the_size_of_the_stage_and_labels_follow_them() -> None:
    batches = list(stage_loader(slices(), Stage(size=32, batch=4, frozen=True, epochs=1), SHIPPED, seed=0))
    assert [tuple(batch["image"].shape) for batch in batches] == [(4, 3, 32, 32)] * 2
    image, label = (torch.cat([batch[key] for batch in batches]) for key in ("image", "label"))
    assert label.shape == (8, 1, 32, 32)
    assert not torch.equal(label[0], label[1])
    assert image[:, :1][label > 0.9].mean() > image[:, :1][label < 0.1].mean() + 0.3
    assert image.min() >= 0
    assert image.max() <= 1


def test_views_repeat_with_their_seed() -> None:
    first, again, other = (
        next(iter(stage_loader(slices(), FROZEN, SHIPPED, seed)))["image"] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_rates_grow_from_the_first_to_the_last_layer_and_reach_every_weight() -> None:
    network = opacity_unet()
    groups = spread_rates(network, (1e-5, 1e-3))
    rates = [group["lr"] for group in groups]
    assert rates == sorted(rates)
    assert (rates[0], rates[-1]) == pytest.approx((1e-5, 1e-3))
    ids = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(ids) == sorted(id(weight) for weight in network.parameters())


def test_the_rate_is_found_in_the_range_and_the_network_left_as_it_was() -> None:
    network = opacity_unet()
    network.encoder.requires_grad_(False)
    before = weights(network)
    rate = find_rate(network, stage_loader(slices(), FROZEN, TINY, 0), TINY, CPU)
    assert TINY.learning_rate_range[0] <= rate <= TINY.learning_rate_range[1]
    assert not changed(before, network, "")


def test_a_frozen_encoder_stands_still_and_an_unfrozen_one_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staged, "find_rate", lambda *_: 1e-2)
    network = opacity_unet()
    before = weights(network)
    trainer = Trainer(network, tmp_path / "stages.pt", StagesDone())
    losses = run_stage(trainer, slices(), FROZEN, TINY, CPU, 0)
    assert len(losses) == 2
    assert not changed(before, network, "encoder")
    assert changed(before, network, "decoder")
    run_stage(trainer, slices(), UNFROZEN, TINY, CPU, 0)
    assert changed(before, network, "encoder.conv1")


def test_training_goes_on_after_the_last_finished_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[bool] = []
    biases: list[float] = []

    def fake_stage(trainer: Trainer, _: object, stage: Stage, *__: object) -> list[float]:
        ran.append(stage.frozen)
        biases.append(trainer.network.bias.item())
        if ran == [True, False]:
            raise KeyboardInterrupt
        torch.nn.init.constant_(trainer.network.bias, len(ran))
        return [0.0]

    monkeypatch.setattr(staged, "run_stage", fake_stage)
    monkeypatch.chdir(tmp_path)

    def train(*, resume: bool) -> None:
        options = Options(tmp_path, tmp_path / "toy", minutes=1, seed=0, resume=resume)
        card = read_card("opacity")
        train_by_stages(options, card, torch.nn.Linear(1, 1), TINY, slices(), Evaluation())

    with pytest.raises(KeyboardInterrupt):
        train(resume=False)
    assert load_file(tmp_path / "toy" / WEIGHTS_FILE)["bias"].item() == 1
    train(resume=True)
    assert ran == [True, False, False]
    assert biases[1:] == [1, 1]
    assert load_file(tmp_path / "toy" / WEIGHTS_FILE)["bias"].item() == 3
