"""The opacity network in 8-bit integers finds what it finds in floating point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lungct.findings.opacities import segment_opacities
from lungct.networks import opacity_unet
from lungct.networks.int8_unet import Int8OpacityUnet, activation_maxima
from lungct.networks.opacity_unet import build_opacity_model
from lungct.networks.weights import verify_model
from lungct.records import LungAnatomy
from lungct.records.orientation import canonical_volume
from lungct_research.datasets.disease import Disease
from lungct_research.evaluation.agreement import dice
from lungct_research.synthesis.phantom.thorax import make_thorax
from tests.application_runs import MODELS

CPU = torch.device("cpu")
SPACING_MM = (5.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def random_network() -> torch.nn.Module:
    """Untrained, with batch normalisation that does something."""
    torch.manual_seed(1)
    network = opacity_unet().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network


@torch.inference_mode()
def test_logits_of_any_weights_are_kept(random_network: torch.nn.Module) -> None:
    images = torch.rand(2, 1, 96, 128)
    in_float = random_network(images.expand(-1, 3, -1, -1))
    state = random_network.state_dict()
    quantized = Int8OpacityUnet(state, activation_maxima(state, [images]))
    in_integers = quantized(images.expand(-1, 3, -1, -1))
    correlation = torch.corrcoef(torch.stack([in_float.flatten(), in_integers.flatten()]))[0, 1]
    assert correlation > 0.98
    assert float(in_integers.std()) == pytest.approx(float(in_float.std()), rel=0.05)


def test_maxima_are_those_of_the_networks_own_layers(random_network: torch.nn.Module) -> None:
    seen = []
    layer = random_network.get_submodule("decoder.blocks.4.conv2")
    hook = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(float(output.max())))
    images = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        random_network(images.expand(-1, 3, -1, -1))
    hook.remove()
    maxima = activation_maxima(random_network.state_dict(), images.split(1))
    assert maxima["decoder.blocks.4.conv2.0"] == pytest.approx(seen[0], rel=1e-4)


def test_shipped_weights_mark_the_same_opacities() -> None:
    phantom = make_thorax(5, SPACING_MM, (60, 320, 320), disease=Disease.COVID19)
    volume = canonical_volume(phantom.volume_hu, SPACING_MM)
    verified = verify_model(MODELS, "opacity")
    anatomy = LungAnatomy(phantom.lobes, verified.info)
    models = [build_opacity_model(one, CPU) for one in (verified, replace(verified, activation_maxima={}))]
    assert isinstance(models[0].network, Int8OpacityUnet)
    in_integers, in_float = (segment_opacities(volume, anatomy, model).mask for model in models)
    assert np.count_nonzero(in_float) > 1000
    assert dice(in_integers > 0, in_float > 0) > 0.995
