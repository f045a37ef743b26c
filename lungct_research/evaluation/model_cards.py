"""``model.json`` and ``README.md`` of a network, with the keys of a MONAI bundle's metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
from torch import nn

from lungct.networks.weights import save_model

TEMPLATE = Path(__file__).with_name("model_card.md.j2")

INTENDED_USE = (
    "Research and software integration only. Not a medical device; not for diagnosis, triage or any decision "
    "about a patient."
)


@dataclass(frozen=True)
class Evaluation:
    """Findings about a network after its training; empty for interim weights.

    Attributes:
        metrics: what was measured.
        parameters: what inference needs besides the weights.
        activation_maxima: see :class:`lungct.networks.int8_unet.Int8OpacityUnet`.
    """

    metrics: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)
    activation_maxima: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """Facts about one network.

    Attributes:
        name: folder in ``models``.
        outputs: meaning of the output channels.
        classes_key: MONAI's name for them: ``label_classes`` or ``pred_classes``.
        limits: what a user must know, one sentence an item.
        history: how the training of the weights differed from one run of the command as it is.
        changelog: versions and what is new in them, the current one last.
        command: options of ``lungct train`` that make such weights.
        licence: of the weights, after their data.
        measured_on: whose measurements the card shows.
        validated_on: what the report says once something was measured; see
            :class:`lungct.records.Validation`.
    """

    name: str
    task: str
    description: str
    input_shape: tuple[int | str, ...]
    input_channels: int
    outputs: tuple[str, ...]
    classes_key: str
    output_type: str
    limits: tuple[str, ...]
    history: str
    changelog: Mapping[str, str]
    command: str
    data_source: str
    data_type: str
    licence: str
    references: tuple[str, ...]
    measured_on: str
    validated_on: Mapping[str, Any] | None = None

    @property
    def version(self) -> str:
        """The current version."""
        return list(self.changelog)[-1]

    @property
    def command_line(self) -> str:
        """The command that makes such weights."""
        return f"lungct train {self.name} {self.command} --out models/{self.name}"


def describe_model(card: Card, evaluation: Evaluation) -> dict[str, Any]:
    """Return the content of ``model.json`` without the checksum."""
    metrics = evaluation.metrics
    described = {
        "version": card.version,
        "provisional": True,
        "changelog": dict(card.changelog),
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "task": card.task,
        "description": f"{card.description}. New in {card.version}: {card.changelog[card.version]}.",
        "authors": "lungct contributors",
        "copyright": "Copyright lungct contributors",
        "license": card.licence,
        "data_source": card.data_source,
        "data_type": card.data_type,
        "image_classes": "chest CT in Hounsfield units, window [-1250, 250] scaled to (0, 1)",
        card.classes_key: list(card.outputs),
        "eval_metrics": {"command": f"{card.command_line} --evaluate", **metrics} if metrics else {},
        "intended_use": INTENDED_USE,
        "references": list(card.references),
        "network_data_format": _describe_data(card),
        "parameters": dict(evaluation.parameters),
    }
    if evaluation.activation_maxima:
        described["activation_maxima"] = dict(evaluation.activation_maxima)
    if card.validated_on and metrics:
        described["validated_on"] = dict(card.validated_on)
    return described


def _describe_data(card: Card) -> dict[str, Any]:
    shape, classifies = list(card.input_shape), card.classes_key == "pred_classes"
    image = {
        "type": "image",
        "modality": "CT",
        "dtype": "float32",
        "format": "hounsfield",
        "num_channels": card.input_channels,
        "spatial_shape": shape,
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {str(channel): "image" for channel in range(card.input_channels)},
        "axes": "slices (caudal to cranial), rows, columns" if len(shape) == 3 else "rows, columns",
    }
    prediction = {
        "type": "probabilities" if classifies else "image",
        "format": card.output_type,
        "num_channels": len(card.outputs),
        "spatial_shape": [] if classifies else shape,
        "dtype": "float32",
        "is_patch_data": False,
        "channel_def": {str(channel): name for channel, name in enumerate(card.outputs)},
    }
    return {"inputs": {"image": image}, "outputs": {"pred": prediction}}


def save_with_card(model_dir: Path, card: Card, network: nn.Module, evaluation: Evaluation) -> None:
    """Write the weights, ``model.json`` and ``README.md`` of a network to ``models/<name>``."""
    described = describe_model(card, evaluation)
    save_model(model_dir, network, described)
    metrics = described["eval_metrics"]
    template = jinja2.Template(TEMPLATE.read_text(encoding="utf-8"), keep_trailing_newline=True)
    text = template.render(
        card=card,
        described=described,
        parameters=json.dumps(described["parameters"]),
        measured=json.dumps(metrics, indent=2) if metrics else "not yet",
    )
    (model_dir / "README.md").write_text(text, encoding="utf-8")


def renew_card(model_dir: Path, described: Mapping[str, Any]) -> None:
    """Put parameters and measured values of a changed ``model.json`` into ``README.md``."""
    file = model_dir / "README.md"
    text = file.read_text(encoding="utf-8")
    for pattern, key, indent in (
        (r"(?<=\*\*Parameters\.\*\* `).*(?=`)", "parameters", None),
        (r"(?<=```json\n).*?(?=\n```)", "eval_metrics", 2),
    ):
        value = json.dumps(described[key], indent=indent)
        text = re.sub(pattern, lambda _, value=value: value, text, count=1, flags=re.DOTALL if indent else 0)
    file.write_text(text, encoding="utf-8")
