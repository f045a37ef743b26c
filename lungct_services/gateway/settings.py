"""Typed, validated view of ``gateway.yaml``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    ValidationError,
    model_validator,
)

from lungct.errors import SettingsError

PASSWORD_VARIABLE = "LUNGCT_ORTHANC_PASSWORD"  # noqa: S105 - the name of it
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_ROOT = Path(__file__).resolve().parents[2]

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$")]
"""Of a modality, peer or server in Orthanc's configuration; it becomes a part of a URL."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OrthancSettings(_Section):
    """Where Orthanc is and how it is spoken to.

    Attributes:
        password_file: holds the password; else it is taken from the environment.
        ca_file: certificates to trust instead of those of the system.
        allow_plain_http: speak without TLS to another machine.
        poll_s: pause between two looks at the change feed.
        first_start: of what is stored already when the gateway first starts, analyse nothing (``now``) or
            whatever the feed still knows (``beginning``).
    """

    url: str = "http://127.0.0.1:8042"
    username: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    allow_plain_http: bool = False
    timeout_s: PositiveFloat = 60.0
    poll_s: PositiveFloat = 2.0
    first_start: Literal["now", "beginning"] = "now"

    @model_validator(mode="after")
    def _check_transport(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError("url must be http(s)://HOST:PORT without user name")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK and not self.allow_plain_http:
            raise ValueError("url must be https: patient data would travel unprotected (allow_plain_http)")
        return self

    def password(self) -> str:
        """The password, empty where there is none.

        Raises:
            SettingsError: the file cannot be read.
        """
        if self.password_file is None:
            return os.environ.get(PASSWORD_VARIABLE, "")
        return read_secret(self.password_file)


class RunnerSettings(_Section):
    """How a study is analysed.

    Attributes:
        kind: ``in_process``: a worker process of the gateway, which stays warm; ``command``: ``argv``.
        argv: a program and its arguments; ``{input}``, ``{output}`` and ``{name}`` are filled in. No shell.
        workers: studies that are analysed at the same time.
        timeout_s: after that a run is ended and counts as failed.
        studies_per_worker: a worker process is renewed after as many, against leaks.
    """

    kind: Literal["in_process", "command"] = "in_process"
    argv: tuple[str, ...] = ()
    workers: PositiveInt = 1
    timeout_s: PositiveFloat = 1800.0
    studies_per_worker: PositiveInt = 50
    application: Path = _ROOT / "app"
    models: Path = _ROOT / "models"
    settings: Path = _ROOT / "app.yaml"

    @model_validator(mode="after")
    def _check_command(self) -> Self:
        if self.kind == "command":
            arguments = " ".join(self.argv)
            if missing := [name for name in ("{input}", "{output}") if name not in arguments]:
                raise ValueError(f"argv must hold {' and '.join(missing)}")
        return self


class Limits(_Section):
    """What one study may ask for.

    Attributes:
        max_versions: of one study: a sender that never stops adding images must not keep the gateway busy.
    """

    max_instances: PositiveInt = 5000
    max_bytes: PositiveInt = 4 * 1024**3
    max_versions: PositiveInt = 20


class RetrySettings(_Section):
    """When a failed step is tried again: after ``base_s``, twice that, and so on up to ``cap_s``.

    Attributes:
        max_attempts: runs of the analysis.
        max_deliveries: attempts to send results on; the other side may be down for a night.
    """

    base_s: PositiveFloat = 30.0
    cap_s: PositiveFloat = 3600.0
    max_attempts: PositiveInt = 5
    max_deliveries: PositiveInt = 48


class PrioritySettings(_Section):
    """Who comes first: STAT, then studies of the last days, then the rest, each in the order of arrival.

    Attributes:
        stat_called_aets: a study sent to one of these AE titles of Orthanc is STAT.
        recent_days: age of a study, by its Study Date, up to which it is recent.
    """

    stat_called_aets: frozenset[str] = frozenset()
    recent_days: NonNegativeInt = 1


class Destination(_Section):
    """Where Orthanc sends results on to: an entry of its own configuration."""

    kind: Literal["modality", "peer", "dicomweb"]
    name: Name


class WebSettings(_Section):
    """Where health, metrics and the status page are served.

    Attributes:
        token_file: holds the token that metrics and status page ask for.
    """

    host: str = "127.0.0.1"
    port: NonNegativeInt = 8043
    token_file: Path | None = None

    @model_validator(mode="after")
    def _check_access(self) -> Self:
        if self.host not in _LOOPBACK and self.token_file is None:
            raise ValueError("token_file is needed where host is not the loopback interface")
        return self


class GatewaySettings(_Section):
    """Every setting of the gateway.

    Attributes:
        state_dir: database, key of the pseudonyms, studies in progress; readable by the gateway alone.
        drain_s: on SIGTERM, how long running analyses may go on.
    """

    orthanc: OrthancSettings = Field(default_factory=OrthancSettings)
    state_dir: Path = Path("/var/lib/lungct-gateway")
    runner: RunnerSettings = Field(default_factory=RunnerSettings)
    limits: Limits = Field(default_factory=Limits)
    retry: RetrySettings = Field(default_factory=RetrySettings)
    priority: PrioritySettings = Field(default_factory=PrioritySettings)
    destinations: tuple[Destination, ...] = ()
    web: WebSettings = Field(default_factory=WebSettings)
    drain_s: PositiveFloat = 600.0


def read_gateway_settings(path: Path) -> GatewaySettings:
    """Settings of a ``gateway.yaml``; what it leaves out has its default.

    Raises:
        SettingsError: the file is missing, is not YAML, or holds an unknown key or a wrong value.
    """
    try:
        return GatewaySettings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        key = ".".join(map(str, first["loc"])) or "settings"
        raise SettingsError(f"{path.name}: {key}: {first['msg']}; correct this setting") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path.name} cannot be read as YAML settings: restore the file") from error


def read_secret(path: Path) -> str:
    """The first line of a file.

    Raises:
        SettingsError: it cannot be read, or is empty.
    """
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the secret {path.name} cannot be read: check path and access rights") from error
    if not secret:
        raise SettingsError(f"the secret {path.name} is empty")
    return secret
