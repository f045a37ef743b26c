"""Settings that would leak, or that could not work, are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lungct.errors import SettingsError
from lungct_services.gateway.settings import read_gateway_settings


def read(tmp_path: Path, **content: object) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump(content))
    read_gateway_settings(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"orthanc": {"url": "http://pacs.example:8042"}}, "orthanc: .* https"),
        ({"orthanc": {"url": "https://user:secret@pacs.example"}}, "orthanc: .* without user name"),
        ({"orthanc": {"url": "file:///etc/passwd"}}, "orthanc: .* http"),
        ({"web": {"host": "0.0.0.0"}}, "web: .*token_file"),  # noqa: S104
        ({"destinations": [{"kind": "modality", "name": "../../tools/shutdown"}]}, "destinations.0.name"),
        ({"destinations": [{"kind": "mail", "name": "A"}]}, "destinations.0.kind"),
        ({"runner": {"kind": "command", "argv": ["docker", "run"]}}, "runner: .*{input} and {output}"),
        ({"runner": {"worker": 2}}, "runner.worker"),
        ({"limits": {"max_bytes": 0}}, "limits.max_bytes"),
    ],
)
def test_a_wrong_value_is_refused_by_name(tmp_path: Path, content: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError, match=told) as refusal:
        read(tmp_path, **content)
    assert "secret" not in str(refusal.value)


def test_defaults_are_enough(tmp_path: Path) -> None:
    read(tmp_path)


def test_a_secret_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump({"orthanc": {"username": "a", "password_file": str(tmp_path / "none")}}))
    with pytest.raises(SettingsError, match="none"):
        read_gateway_settings(path).orthanc.password()
