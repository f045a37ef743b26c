"""Weights are verified before use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from lungct.errors import ModelError
from lungct.networks.weights import METADATA_FILE, WEIGHTS_FILE, load_model, save_model
from lungct.records import Validation

METADATA = {"version": "1.2.3", "provisional": False, "parameters": {"threshold": 0.4}}
CPU = torch.device("cpu")


def build() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    save_model(tmp_path / "toy", build(), METADATA)
    return tmp_path


def test_saved_weights_load_within_half_precision(tmp_path: Path) -> None:
    network = build()
    save_model(tmp_path / "toy", network, METADATA)
    loaded = load_model(tmp_path, "toy", build, CPU)
    for name, tensor in network.state_dict().items():
        assert torch.allclose(loaded.network.state_dict()[name].float(), tensor.float(), atol=1e-3)
    assert not loaded.network.training
    assert loaded.info.version == "1.2.3"
    assert loaded.parameters["threshold"] == 0.4


def test_what_a_model_was_validated_on_is_told(tmp_path: Path) -> None:
    told = {"data": "external", "cases": 474, "institutions": 6}
    save_model(tmp_path / "toy", build(), METADATA | {"validated_on": told})
    assert load_model(tmp_path, "toy", build, CPU).info.validated_on == Validation("external", 474, 6)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"version": 1, "sha256": "0"}',
        '{"version": "1", "sha256": "0", "parameters": null}',
        '{"version": "1", "sha256": "0", "parameters": {"threshold": "0.5"}}',
        '{"version": "1", "sha256": "0", "provisional": "yes"}',
        '{"version": "1", "sha256": "0", "validated_on": {"data": "rumour", "cases": 1, "institutions": 1}}',
    ],
)
@pytest.mark.fault("models", "`model.json` damaged, or with a wrong type", "exit code 6, names the file")
def test_damaged_metadata_is_refused(models_dir: Path, content: str) -> None:
    (models_dir / "toy" / METADATA_FILE).write_text(content)
    with pytest.raises(ModelError, match=r"toy/model\.json is missing or damaged"):
        load_model(models_dir, "toy", build, CPU)


@pytest.mark.fault("models", "Weights with one bit changed", "exit code 6: install the model again")
def test_changed_weights_are_refused(models_dir: Path) -> None:
    weights = models_dir / "toy" / WEIGHTS_FILE
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match="toy/model.safetensors does not match its checksum"):
        load_model(models_dir, "toy", build, CPU)


@pytest.mark.parametrize("missing", [WEIGHTS_FILE, METADATA_FILE])
@pytest.mark.fault("models", "{missing} missing", "exit code 6, names the model")
def test_missing_file_is_named(models_dir: Path, missing: str) -> None:
    (models_dir / "toy" / missing).unlink()
    with pytest.raises(ModelError, match="toy"):
        load_model(models_dir, "toy", build, CPU)


@pytest.mark.fault("models", "Weights of another architecture", "exit code 6, names the model")
def test_weights_of_another_architecture_are_refused(models_dir: Path) -> None:
    with pytest.raises(ModelError, match="toy"):
        load_model(models_dir, "toy", lambda: nn.Linear(5, 5), CPU)


def test_metadata_without_version_is_refused(models_dir: Path) -> None:
    path = models_dir / "toy" / METADATA_FILE
    metadata = json.loads(path.read_text())
    del metadata["version"]
    path.write_text(json.dumps(metadata))
    with pytest.raises(ModelError, match="toy"):
        load_model(models_dir, "toy", build, CPU)


@pytest.mark.fault("models", "`model.json` without a parameter", "exit code 6, names it")
def test_missing_parameter_is_named(models_dir: Path) -> None:
    with pytest.raises(ModelError, match=r"toy/model.json lacks cut_off"):
        load_model(models_dir, "toy", build, CPU, parameters=("threshold", "cut_off"))
