"""Typed, validated view of the ``lungct`` section of app.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lungct.dicom_read.selection import SelectionLimits
from lungct.errors import SettingsError

SECTION = "lungct"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OutputSettings(_Section):
    """Which files are written beside ``result.json``."""

    label_maps: bool = True
    report_pdf: bool = True


class Settings(_Section):
    """Every setting of the pipeline."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    selection: SelectionLimits = Field(default_factory=SelectionLimits)
    outputs: OutputSettings = Field(default_factory=OutputSettings)


def read_settings(path: Path) -> Settings:
    """Settings of an app.yaml; what it leaves out has its default.

    Raises:
        SettingsError: the file is missing, is not YAML, or holds an unknown key or a wrong value.
    """
    try:
        content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return Settings.model_validate(content.get(SECTION) or {})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([SECTION, *map(str, first["loc"])])
        raise SettingsError(f"{path.name}: {key}: {first['msg']}; correct this setting") from error
    except (OSError, yaml.YAMLError, AttributeError) as error:
        raise SettingsError(f"{path.name} cannot be read as YAML settings: restore the file") from error
