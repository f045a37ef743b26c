"""Serves health, readiness, metrics and a status page, read only."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from jinja2 import Environment, select_autoescape
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from lungct.errors import SettingsError
from lungct_services.gateway.settings import WebSettings
from lungct_services.jobs.queue import State
from lungct_services.settings import read_secret

if TYPE_CHECKING:
    from lungct_services.gateway.service import Service

_PAGE = Environment(autoescape=select_autoescape(default=True)).from_string(
    (Path(__file__).parent / "status.html.j2").read_text(encoding="utf-8")
)
_N_JOBS = 20
_TIMEOUT_S = 10.0
_OPEN_PATHS = ("/health", "/ready")


@contextmanager
def serve(service: Service) -> Iterator[None]:
    """Answer requests while the service runs.

    Raises:
        SettingsError: the token cannot be read, or the port is taken.
    """
    settings: WebSettings = service.settings.web
    token = read_secret(settings.token_file) if settings.token_file else ""
    handler = type("Handler", (_Handler,), {"service": service, "token": token})
    try:
        server = ThreadingHTTPServer((settings.host, settings.port), handler)
    except OSError as error:
        raise SettingsError(f"web: cannot listen on port {settings.port} ({error.strerror})") from error
    with server:
        threading.Thread(target=server.serve_forever, daemon=True, name="web").start()
        try:
            yield
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    service: ClassVar[Service]
    token: ClassVar[str]
    timeout = _TIMEOUT_S
    server_version = "lungct-gateway"
    sys_version = ""

    def do_GET(self) -> None:
        if self.path not in _OPEN_PATHS and not self._is_allowed():
            self._answer(401, "a token is needed\n")
            return
        match self.path:
            case "/health":
                self._answer(200, "alive\n")
            case "/ready":
                ready = self.service.is_ready
                self._answer(200 if ready else 503, "ready\n" if ready else "not ready\n")
            case "/metrics":
                self._answer(200, generate_latest(self.service.metrics.registry), CONTENT_TYPE_LATEST)
            case "/":
                self._answer(200, _PAGE.render(**status(self.service)), "text/html; charset=utf-8")
            case _:
                self._answer(404, "not found\n")

    def log_message(self, *_: Any) -> None:
        """Log no requests."""

    def _is_allowed(self) -> bool:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return not self.token or hmac.compare_digest(given.encode(), self.token.encode())

    def _answer(self, code: int, body: str | bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        content = body.encode() if isinstance(body, str) else body
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.end_headers()
        self.wfile.write(content)


def status(service: Service) -> dict[str, Any]:
    """Return the content of the status page."""
    jobs = service.jobs
    waiting = jobs.latest((State.QUEUED, State.RUNNING, State.SENDING), _N_JOBS)
    ended = jobs.latest((State.DONE, State.INELIGIBLE, State.SUPERSEDED), _N_JOBS)
    minutes = sorted((row["ended"] - row["arrived"]) / 60 for row in ended if row["state"] == State.DONE)
    return {
        "is_connected": service.feed.is_connected,
        "is_stopping": service.stopping.is_set(),
        "counts": jobs.counts(),
        "median_minutes": minutes[len(minutes) // 2] if minutes else None,
        "tables": {
            "Waiting and running": waiting,
            "Ended": ended,
            "Failed": jobs.latest((State.FAILED,), _N_JOBS),
        },
        "time_of": lambda seconds: datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "now": time.time(),
    }
