"""Loading and saving model weights: ``models/<name>/model.safetensors`` beside ``model.json``.

``model.json`` carries the keys of a MONAI bundle's ``metadata.json`` and five more: ``sha256`` of the
weights file, verified on every load; ``provisional``, true unless the model card says otherwise;
``validated_on``, see :class:`lungct.records.Validation`; ``parameters``, what inference needs besides the
weights, such as a threshold; and ``activation_maxima`` where a network can run in 8-bit integers, see
:mod:`lungct.networks.int8_unet`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, FiniteFloat
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from lungct.errors import ModelError
from lungct.records import ModelInfo, Validation

WEIGHTS_FILE = "model.safetensors"
METADATA_FILE = "model.json"


class _Metadata(BaseModel):
    """The part of ``model.json`` that inference needs; the rest is for people and other tools."""

    model_config = ConfigDict(frozen=True, strict=True)

    version: str
    sha256: str
    provisional: bool = True
    validated_on: Validation | None = None
    parameters: dict[str, FiniteFloat] = {}
    activation_maxima: dict[str, FiniteFloat] = {}


@dataclass(frozen=True)
class VerifiedModel:
    """Weights that match their checksum, not yet in a network."""

    weights_file: Path
    info: ModelInfo
    parameters: Mapping[str, float]
    activation_maxima: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network ready for inference and what is known about it."""

    network: nn.Module
    info: ModelInfo
    parameters: Mapping[str, float]


def load_model(
    models_dir: Path,
    name: str,
    build: Callable[[], nn.Module],
    device: torch.device,
    parameters: Sequence[str] = (),
) -> LoadedModel:
    """Verify weights and build their network, see :func:`verify_model` and :func:`build_model`."""
    return build_model(verify_model(models_dir, name, parameters), build, device)


def verify_model(models_dir: Path, name: str, parameters: Sequence[str] = ()) -> VerifiedModel:
    """Compare the weights with their checksum; needs no network and little time.

    Args:
        models_dir: folder with one sub-folder a model.
        name: sub-folder.
        parameters: names that ``parameters`` of ``model.json`` must hold.

    Raises:
        ModelError: files are missing or the checksum differs.
    """
    metadata = _read_metadata(models_dir / name / METADATA_FILE)
    weights_file = models_dir / name / WEIGHTS_FILE
    try:
        sha256 = file_sha256(weights_file)
    except OSError as error:
        raise _cannot_load(name, error) from error
    if sha256 != metadata.sha256:
        raise ModelError(f"{name}/{WEIGHTS_FILE} does not match its checksum: install the model again")
    if missing := [parameter for parameter in parameters if parameter not in metadata.parameters]:
        raise ModelError(f"{name}/{METADATA_FILE} lacks {', '.join(missing)}: install the model again")
    info = ModelInfo(name, metadata.version, sha256, metadata.provisional, metadata.validated_on)
    return VerifiedModel(weights_file, info, metadata.parameters, metadata.activation_maxima)


def build_model(verified: VerifiedModel, build: Callable[[], nn.Module], device: torch.device) -> LoadedModel:
    """Build a network and fill it with verified weights, in evaluation mode, float32, on ``device``.

    Raises:
        ModelError: the weights are of another architecture.
    """

    def filled(state: Mapping[str, torch.Tensor]) -> nn.Module:
        network = build()
        network.load_state_dict(state)
        return network.to(device)

    return loaded(verified, filled)


def loaded(verified: VerifiedModel, make: Callable[[Mapping[str, torch.Tensor]], nn.Module]) -> LoadedModel:
    """Load verified weights by name in float32 and make a network of them, in evaluation mode.

    Raises:
        ModelError: the weights are of another architecture.
    """
    try:
        state = load_file(verified.weights_file)
        network = make({name: one.float() if one.is_floating_point() else one for name, one in state.items()})
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        raise _cannot_load(verified.info.name, error) from error
    return LoadedModel(network.eval(), verified.info, verified.parameters)


def _cannot_load(name: str, error: Exception) -> ModelError:
    return ModelError(f"cannot load model {name} ({type(error).__name__}): install the model again")


def save_model(model_dir: Path, network: nn.Module, metadata: Mapping[str, Any]) -> None:
    """Write weights in half precision and ``model.json`` with their checksum.

    Args:
        model_dir: ``models/<name>``, made where missing.
        network: trained network.
        metadata: the content of ``model.json`` without ``sha256``.
    """
    model_dir.mkdir(parents=True, exist_ok=True)
    state = {
        key: (tensor.half() if tensor.is_floating_point() else tensor).contiguous().cpu()
        for key, tensor in network.state_dict().items()
    }
    weights_file = model_dir / WEIGHTS_FILE
    save_file(state, weights_file)
    weights_file.chmod(0o644)  # safetensors lets the owner alone read, but a container runs as another user
    described = {**metadata, "sha256": file_sha256(weights_file)}
    (model_dir / METADATA_FILE).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_metadata(path: Path) -> _Metadata:
    try:
        return _Metadata.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path.parent.name}/{METADATA_FILE} is missing or damaged: install the model again"
        ) from error
