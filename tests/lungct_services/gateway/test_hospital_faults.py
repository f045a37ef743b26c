"""Faults around the gateway, each with a real Orthanc: nothing is lost, nothing comes twice, nobody waits."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.lungct_services.gateway.site import Gateway, wait_until, write_chest
from tests.lungct_services.gateway.test_hospital import send
from tests.orthanc import Orthanc

SECONDS_AN_OBJECT = 3.0
TIMEOUT_S = 5
"""Shorter than two objects take."""


@pytest.fixture
def studies(tmp_path: Path) -> list[list[Path]]:
    return [write_chest(tmp_path / "sent" / str(seed), seed) for seed in range(4)]


@contextmanager
def running(gateway: Gateway) -> Iterator[None]:
    gateway.start()
    try:
        yield
        assert gateway.stop() == 0
    finally:
        gateway.kill()


@contextmanager
def slow_peer() -> Iterator[tuple[str, Counter[str]]]:
    """An Orthanc far away: its address, and how often it got each object."""
    received: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(SECONDS_AN_OBJECT)
            received[hashlib.sha256(body).hexdigest()] += 1
            answer = b'{"ID": "1", "Status": "Success"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", received
        server.shutdown()


def test_a_destination_that_needs_longer_than_the_time_out_gets_every_object_once(
    tmp_path: Path, orthanc: Orthanc, studies: list[list[Path]]
) -> None:
    settings = {
        "orthanc": {"timeout_s": TIMEOUT_S},
        "destinations": [{"kind": "peer", "name": "SLOW"}],
    }
    with slow_peer() as (address, received):
        orthanc.post("/peers/SLOW", json.dumps({"Url": address}), method="PUT")
        gateway = Gateway(tmp_path, orthanc, settings)
        with running(gateway):
            for study in studies[:2]:
                send(orthanc, study)
            wait_until(lambda: len(gateway.ended()) == 2, "both studies ended")
        assert gateway.rows("SELECT DISTINCT state, reason FROM jobs") == [("done", "")]
        assert sorted(received.values()) == [1] * 4
