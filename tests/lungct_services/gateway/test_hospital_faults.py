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

from tests.lungct_services.gateway.site import STABLE_AGE_S, Gateway, study_uid, wait_until, write_chest
from tests.lungct_services.gateway.test_hospital import results, send
from tests.orthanc import Orthanc, run_orthanc

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


def test_an_orthanc_with_another_database_has_all_its_studies_analysed(
    tmp_path: Path, orthanc: Orthanc, studies: list[list[Path]]
) -> None:
    send(orthanc, studies[0])
    gateway = Gateway(tmp_path, orthanc)
    with running(gateway):
        wait_until(lambda: len(gateway.ended()) == 1, "the study of the first database ended")
    (tmp_path / "other").mkdir()
    with run_orthanc(tmp_path / "other", StableAge=STABLE_AGE_S) as other:
        for study in studies[1:]:  # by now the sequence of this one is past that of the first
            send(other, study)
        with running(Gateway(tmp_path, other)):
            wait_until(lambda: len(gateway.ended()) == len(studies), "all studies ended")
        assert [len(results(other, study_uid(study[0]))) for study in studies[1:]] == [2, 2, 2]


def test_a_study_that_is_deleted_and_sent_again_has_results_again(
    tmp_path: Path, orthanc: Orthanc, studies: list[list[Path]]
) -> None:
    gateway = Gateway(tmp_path, orthanc)
    with running(gateway):
        for n_times in (1, 2):
            send(orthanc, studies[0])
            wait_until(lambda n=n_times: len(gateway.ended()) == n, f"the study ended {n_times} times")
            assert len(results(orthanc, study_uid(studies[0][0]))) == 2
            (study,) = json.loads(orthanc.get("/studies")[0])
            orthanc.post(f"/studies/{study}", "", method="DELETE")
    assert gateway.rows("SELECT DISTINCT state FROM jobs") == [("done",)]
