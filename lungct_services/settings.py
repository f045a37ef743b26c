"""The base of all settings of services, and how secrets are read."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lungct.errors import SettingsError


class Section(BaseModel):
    """A group of settings that refuses unknown keys and does not change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
