"""Typed, validated view of ``gateway.yaml``."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    ValidationError,
    model_validator,
)

from lungct.errors import SettingsError
from lungct_services.jobs.queue import HEAD_START_S
from lungct_services.runners.processes import RunnerSettings
from lungct_services.settings import Section, read_secret

PASSWORD_VARIABLE = "LUNGCT_ORTHANC_PASSWORD"  # noqa: S105 - the name of it
_MOST_DOUBLINGS = 30
"""Doublings of a pause; own decision: far beyond any cap, and far from overflowing."""
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$")]
"""Name of a modality, peer or server in Orthanc's configuration; it becomes a part of a URL."""


class OrthancSettings(Section):
    """Address of Orthanc, access and time limits.

    Attributes:
        password_file: holds the password; else it is taken from the environment.
        ca_file: certificates to trust instead of those of the system.
        allow_plain_http: speak without TLS to another machine.
        timeout_s: longest silence while an answer is waited for.
        transfer_s: longest time that one answer may take to arrive whole.
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
    transfer_s: PositiveFloat = 600.0
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
        """Return the password, empty where there is none.

        Raises:
            SettingsError: the file cannot be read.
        """
        if self.password_file is None:
            return os.environ.get(PASSWORD_VARIABLE, "")
        return read_secret(self.password_file)


class Limits(Section):
    """Limits of one study.

    Attributes:
        max_versions: most versions of it: a sender that never stops adding images must not keep the gateway
            busy.
    """

    max_instances: PositiveInt = 5000
    max_bytes: PositiveInt = 4 * 1024**3
    max_versions: PositiveInt = 20


class RetrySettings(Section):
    """Pauses before a failed step is tried again: ``base_s``, twice that, and so on up to ``cap_s``.

    Attributes:
        max_attempts: most runs of the analysis.
        max_deliveries: most attempts to send results on; the other side may be down for a night.
        delivery_s: longest time that one attempt to send results on may take.
    """

    base_s: PositiveFloat = 30.0
    cap_s: PositiveFloat = 3600.0
    max_attempts: PositiveInt = 5
    max_deliveries: PositiveInt = 48
    delivery_s: PositiveFloat = 3600.0

    def pause_s(self, attempts: int) -> float:
        """Return the seconds to wait after some attempts, at random so that jobs do not return together."""
        longest_s = min(self.cap_s, self.base_s * 2.0 ** min(attempts - 1, _MOST_DOUBLINGS))
        return random.uniform(longest_s / 2, longest_s)  # noqa: S311 - no secret


class PrioritySettings(Section):
    """Order of the studies: STAT, then those of the last days, then the rest, each by arrival.

    Attributes:
        stat_called_aets: a study sent to one of these AE titles of Orthanc is STAT.
        recent_days: age of a study, by its Study Date, up to which it is recent.
        head_start_s: a study goes before those of the next class that came up to so much earlier, so that
            nobody waits for ever.
    """

    stat_called_aets: frozenset[str] = frozenset()
    recent_days: NonNegativeInt = 1
    head_start_s: PositiveFloat = HEAD_START_S


class Destination(Section):
    """An entry of Orthanc's configuration to which it sends results on."""

    kind: Literal["modality", "peer", "dicomweb"]
    name: Name


class WebSettings(Section):
    """Address of health, metrics and status page.

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


class GatewaySettings(Section):
    """Every setting of the gateway.

    Attributes:
        state_dir: database, key of the pseudonyms, studies in progress; readable by the gateway alone.
        keep_days: the database forgets studies that ended longer ago.
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
    keep_days: PositiveInt = 730
    drain_s: PositiveFloat = 600.0


def read_gateway_settings(path: Path) -> GatewaySettings:
    """Read a ``gateway.yaml``; keys that it leaves out get their defaults.

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
