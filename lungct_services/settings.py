"""The base of all settings of services, and how their files and secrets are read."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lungct.errors import SettingsError


class Section(BaseModel):
    """A group of settings that refuses unknown keys and does not change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


AnySettings = TypeVar("AnySettings", bound=Section)


def read_settings_file(path: Path, model: type[AnySettings]) -> AnySettings:
    """Read and check a YAML file; keys that it leaves out get their defaults.

    Raises:
        SettingsError: the file is missing, is not YAML, or holds an unknown key or a wrong value.
    """
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        key = ".".join(map(str, first["loc"])) or "settings"
        raise SettingsError(f"{path.name}: {key}: {first['msg']}; correct this setting") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path.name} cannot be read as YAML settings: restore the file") from error


def read_secret(path: Path) -> str:
    """Read the secret in a file, without the white space around it.

    Raises:
        SettingsError: the file cannot be read, or is empty.
    """
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the secret {path.name} cannot be read: check path and access rights") from error
    if not secret:
        raise SettingsError(f"the secret {path.name} is empty: write the secret into it")
    return secret
