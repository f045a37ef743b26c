"""Architecture of the three networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.nets.basic_unet import BasicUNet
from torch import nn
from torch.nn import functional

from lungct.networks import Classifier3d, LobeUNet, opacity_unet
from lungct.networks.classifier3d import build_classifier
from lungct.networks.device import multiplies_bfloat16
from lungct.networks.lobe_unet import FEATURES, FOLD, LAST_FEATURES, N_CLASSES
from lungct.networks.weights import load_model, save_model, verify_model

MODELS = Path(__file__).resolve().parents[3] / "models"


def test_classifier_has_the_papers_layers() -> None:
    network = Classifier3d()
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv3d)]
    assert [layer.out_channels for layer in convolutions] == [16, 16, 32, 64]
    assert {layer.kernel_size for layer in convolutions} == {(3, 3, 3)}
    first, *others = network[0]
    assert isinstance(first, nn.Conv3d)
    assert [type(layer) for layer in others] == [nn.LeakyReLU, nn.MaxPool3d, nn.BatchNorm3d]
    linear = [layer.out_features for layer in network if isinstance(layer, nn.Linear)]
    assert linear == [128, 3]
    assert [layer.p for layer in network if isinstance(layer, nn.Dropout)] == [0.30]


def test_weights_say_by_how_much_the_classifiers_volumes_are_shrunk(tmp_path: Path) -> None:
    save_model(tmp_path / "classifier", Classifier3d(shrink=2), {"version": "1", "provisional": True})
    network = load_model(tmp_path, "classifier", Classifier3d, torch.device("cpu")).network
    volumes = torch.rand(1, 1, 32, 32, 32)
    with torch.inference_mode():
        shrunk_by_itself = network(volumes)
        network.shrink = 1
        assert torch.equal(network(functional.avg_pool3d(volumes, 2)), shrunk_by_itself)


def test_classifiers_convolution_is_torchs() -> None:
    ours = Classifier3d()[1][0]
    volumes = torch.rand(2, 16, 8, 12, 10)
    theirs = functional.conv3d(volumes, ours.weight, ours.bias, padding=1)
    torch.testing.assert_close(ours(volumes), theirs)


def test_classifier_may_pool_before_it_activates() -> None:
    """The paper activates first; the largest value stays the largest."""
    block, x = Classifier3d()[1], torch.randn(2, 16, 8, 12, 10)
    in_the_papers_order = nn.Sequential(*block).eval()
    with torch.inference_mode():
        assert torch.equal(block.eval()(x), in_the_papers_order(x))


@pytest.mark.skipif(
    not multiplies_bfloat16(torch.device("cpu")), reason="this CPU does not multiply bfloat16"
)
def test_classifier_in_bfloat16_says_nearly_the_same() -> None:
    model = build_classifier(verify_model(MODELS, "classifier"), torch.device("cpu"))
    exact = load_model(MODELS, "classifier", Classifier3d, torch.device("cpu"))
    volumes = torch.rand(1, 1, 64, 224, 224)
    with torch.inference_mode():
        rounded, unrounded = (one.network(volumes).softmax(1) for one in (model, exact))
    assert not torch.equal(rounded, unrounded)
    torch.testing.assert_close(rounded, unrounded, rtol=0, atol=0.01)


def test_classifier_gives_three_logits() -> None:
    assert Classifier3d().eval()(torch.zeros(2, 1, 16, 32, 32)).shape == (2, 3)


def test_opacity_network_is_a_unet_on_resnet34() -> None:
    network = opacity_unet().eval()
    assert len(network.encoder.layer3) == 6
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 1, 64, 64)


def test_lobe_network_keeps_the_grid() -> None:
    with torch.inference_mode():
        assert LobeUNet().eval()(torch.zeros(1, 1, 64, 32, 96)).shape == (1, 6, 64, 32, 96)


@torch.inference_mode()
def test_lobe_network_is_monais_basic_unet() -> None:
    ours = LobeUNet().unet.eval()
    theirs = BasicUNet(
        spatial_dims=3,
        in_channels=2 * FOLD**3,
        out_channels=N_CLASSES * FOLD**3,
        features=(*FEATURES, LAST_FEATURES),
        norm=("instance", {"affine": True}),
    ).eval()
    theirs.load_state_dict(ours.state_dict())
    voxels = torch.rand(1, 2 * FOLD**3, 32, 16, 48)
    torch.testing.assert_close(ours(voxels), theirs(voxels))
