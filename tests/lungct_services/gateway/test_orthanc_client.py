"""The client against a real Orthanc that wants a password, and against certificates."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydicom import dcmread

from lungct_services.gateway.orthanc import Orthanc
from lungct_services.gateway.settings import Destination, OrthancSettings
from lungct_services.jobs.errors import FinalError, TransientError, Unreachable
from tests.lungct_services.gateway.site import write_chest
from tests.orthanc import run_orthanc

PASSWORD = "correct horse"  # noqa: S105


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of 127.0.0.1, signed by itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate, both = (folder / name for name in ("key.pem", "certificate.pem", "both.pem"))
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run(  # noqa: S603
        [*command, *subject, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    return both


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancSettings]:
    folder = tmp_path_factory.mktemp("orthanc")
    (folder / "password").write_text(f"{PASSWORD}\n")
    users = {"AuthenticationEnabled": True, "RegisteredUsers": {"gateway": PASSWORD}}
    with run_orthanc(folder, **users) as server:
        yield OrthancSettings(
            url=f"http://127.0.0.1:{server.http_port}",
            username="gateway",
            password_file=folder / "password",
        )


@contextmanager
def answering(
    status: int, body: bytes = b"", pause_s: float = 0.0, certificate: Path | None = None, **headers: str
) -> Iterator[OrthancSettings]:
    """What stands in front of an Orthanc; it answers every question alike, a byte after each pause."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            for piece in body if pause_s else ():
                time.sleep(pause_s)
                with suppress(OSError):
                    self.wfile.write(bytes([piece]))
            if not pause_s:
                self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - named by http.server

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket, scheme = context.wrap_socket(server.socket, server_side=True), "https"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield OrthancSettings(
            url=f"{scheme}://127.0.0.1:{server.server_port}", ca_file=certificate, timeout_s=1, transfer_s=2
        )
        server.shutdown()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chest(tmp_path_factory.mktemp("chest"), seed=1, n_slices=1)[0]


def test_an_object_is_stored_once_found_and_removed(settings: OrthancSettings, image: Path) -> None:
    orthanc, uid = Orthanc(settings), dcmread(image).SOPInstanceUID
    before = orthanc.last_changes().last
    instance = orthanc.store(image)
    assert orthanc.store(image) == instance == orthanc.find_instance(uid)
    kinds = [change.kind for change in orthanc.changes(before).changes]
    assert kinds.count("NewInstance") == 1
    orthanc.delete(instance)
    orthanc.delete(instance)
    assert orthanc.find_instance(uid) is None


def test_headers_come_without_pixels(settings: OrthancSettings, image: Path, tmp_path: Path) -> None:
    orthanc, original = Orthanc(settings), dcmread(image)
    instance = orthanc.store(image)
    (header,) = orthanc.headers(original.StudyInstanceUID, original.SeriesInstanceUID)
    assert header.ImagePositionPatient == original.ImagePositionPatient
    assert header.get("PixelData") in (None, b"")
    orthanc.download(instance, tmp_path / "image.dcm")
    assert dcmread(tmp_path / "image.dcm").PixelData == original.PixelData
    orthanc.delete(instance)


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    feed = b'{"Changes": [], "Done": true, "Last": 7}'
    with answering(200, feed, certificate=certificate) as proxy:
        assert Orthanc(proxy).last_changes().last == 7
        with pytest.raises(Unreachable, match="ORTHANC_CERTIFICATE"):
            Orthanc(proxy.model_copy(update={"ca_file": None})).last_changes()


def test_an_answer_that_does_not_begin_in_time_is_an_attempt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TransientError, match="ORTHANC_TIMEOUT"):
            Orthanc(OrthancSettings(url=url, timeout_s=0.5)).last_changes()


def test_an_image_that_comes_byte_by_byte_has_a_total_time(tmp_path: Path) -> None:
    with answering(200, bytes(20), pause_s=0.5) as slow, pytest.raises(TransientError, match="TIMEOUT"):
        Orthanc(slow).download("image", tmp_path / "image.dcm")


def test_a_download_ends_when_the_service_stops(tmp_path: Path) -> None:
    stopping = threading.Event()
    with answering(200, bytes(20), pause_s=0.2) as slow:
        stopping.set()
        with pytest.raises(Unreachable, match="STOPPING"):
            Orthanc(slow, stopping).download("image", tmp_path / "image.dcm")


@pytest.mark.parametrize("status", [302, 404, 413, 502])
def test_a_front_end_cannot_say_that_a_study_is_gone(status: int) -> None:
    told = pytest.raises(Unreachable, match=f"FRONT_END_{status}")
    with answering(status, b"<html>", Location="https://login.example") as front_end, told:
        Orthanc(front_end).study("a")


@pytest.mark.parametrize("status", [429, 503])
def test_whoever_is_busy_is_left_alone_for_as_long_as_it_says(status: int) -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    for said, wait_s in (("120", 120), (in_an_hour, 3600), ("soon", 0)):
        with answering(status, Retry_After=said) as busy:
            with pytest.raises(Unreachable, match="ORTHANC_BUSY") as refusal:
                Orthanc(busy).study("a")
            assert refusal.value.wait_s == pytest.approx(wait_s, abs=5)


def test_a_wrong_password_is_told_apart_from_silence(
    settings: OrthancSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNGCT_ORTHANC_PASSWORD", "wrong")
    with pytest.raises(Unreachable, match="ORTHANC_REFUSES"):
        Orthanc(settings.model_copy(update={"password_file": None})).last_changes()


def test_nobody_there(settings: OrthancSettings) -> None:
    with pytest.raises(Unreachable, match="ORTHANC_UNREACHABLE"):
        Orthanc(settings.model_copy(update={"url": "http://127.0.0.1:1"})).last_changes()


def test_what_orthanc_itself_does_not_have_is_gone(settings: OrthancSettings) -> None:
    orthanc = Orthanc(settings)
    for ask in (
        lambda: orthanc.study("0" * 8),
        lambda: list(orthanc.headers("1.2", "1.3")),
        lambda: orthanc.n_bytes("0" * 8),
        lambda: orthanc.study_of("instances", "0" * 8),
    ):
        with pytest.raises(FinalError, match="GONE"):
            ask()


def test_a_sending_that_orthanc_has_forgotten_has_failed(settings: OrthancSettings) -> None:
    assert Orthanc(settings).sending_state("0" * 8) == "failed"


def test_a_destination_that_orthanc_does_not_know_is_tried_again(
    settings: OrthancSettings, image: Path
) -> None:
    orthanc = Orthanc(settings)
    instance = orthanc.store(image)
    with pytest.raises(TransientError, match="DESTINATION"):
        orthanc.start_sending(Destination(kind="modality", name="NOWHERE"), [instance])
    orthanc.delete(instance)
