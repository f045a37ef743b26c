"""The client against a real Orthanc that wants a password, and against certificates."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydicom import dcmread

from lungct_services.gateway.errors import FinalError, TransientError, Unreachable
from lungct_services.gateway.orthanc import Orthanc
from lungct_services.gateway.settings import Destination, OrthancSettings
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


@pytest.fixture
def proxy(certificate: Path) -> Iterator[OrthancSettings]:
    """What stands in front of an Orthanc and speaks TLS; it answers every question with the same feed."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"Last": 7}')

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield OrthancSettings(url=f"https://127.0.0.1:{server.server_port}", ca_file=certificate)
        server.shutdown()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chest(tmp_path_factory.mktemp("chest"), seed=1, n_slices=1)[0]


def test_an_object_is_stored_once_found_and_removed(settings: OrthancSettings, image: Path) -> None:
    orthanc, uid = Orthanc(settings), dcmread(image).SOPInstanceUID
    before = orthanc.last_sequence()
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


def test_a_certificate_that_nobody_vouches_for_is_refused(proxy: OrthancSettings) -> None:
    assert Orthanc(proxy).last_sequence() == 7
    with pytest.raises(Unreachable, match="ORTHANC_CERTIFICATE"):
        Orthanc(proxy.model_copy(update={"ca_file": None})).last_sequence()


def test_a_wrong_password_is_told_apart_from_silence(
    settings: OrthancSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNGCT_ORTHANC_PASSWORD", "wrong")
    with pytest.raises(Unreachable, match="ORTHANC_REFUSES"):
        Orthanc(settings.model_copy(update={"password_file": None})).last_sequence()


def test_nobody_there(settings: OrthancSettings) -> None:
    with pytest.raises(Unreachable, match="ORTHANC_UNREACHABLE"):
        Orthanc(settings.model_copy(update={"url": "http://127.0.0.1:1"})).last_sequence()


def test_a_study_that_is_gone_is_final(settings: OrthancSettings) -> None:
    with pytest.raises(FinalError, match="GONE"):
        Orthanc(settings).study("0" * 8)


def test_a_destination_that_orthanc_does_not_know_is_tried_again(
    settings: OrthancSettings, image: Path
) -> None:
    orthanc = Orthanc(settings)
    instance = orthanc.store(image)
    with pytest.raises(TransientError, match="DESTINATION"):
        orthanc.send(Destination(kind="modality", name="NOWHERE"), [instance])
    orthanc.delete(instance)
