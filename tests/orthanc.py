"""An Orthanc server on the loopback interface."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.dicom_tools import command, complaints

DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
START_S = 60


@dataclass(frozen=True)
class Orthanc:
    dicom_port: int
    http_port: int

    def get(self, path: str, accept: str = "application/json") -> tuple[bytes, str]:
        """Body and content type."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        request = urllib.request.Request(url, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return response.read(), response.headers["Content-Type"]

    def post(self, path: str, content: str, method: str = "POST") -> bytes:
        """The answer."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        request = urllib.request.Request(url, data=content.encode(), method=method)
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            answer: bytes = response.read()
        return answer

    def store(self, *paths: Path) -> list[str]:
        """C-STORE, also of JPEG Lossless; what storescu says."""
        address = ("127.0.0.1", str(self.dicom_port))
        return complaints("storescu", "--required", "--propose-lossless", "-aec", "ORTHANC", *address, *paths)

    def retrieve(self, path: Path) -> bytes:
        """The instance that a file holds, by DICOMweb (WADO-RS), as a file."""
        dataset = dcmread(path, stop_before_pixels=True)
        place = "/studies/{0.StudyInstanceUID}/series/{0.SeriesInstanceUID}/instances/{0.SOPInstanceUID}"
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        body, content_type = self.get(f"/dicom-web{place.format(dataset)}", accept)
        message = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body, policy=HTTP)
        (part,) = message.iter_parts()
        return part.get_payload(decode=True)


@contextmanager
def run_orthanc(folder: Path, **options: object) -> Iterator[Orthanc]:
    """Orthanc with DICOMweb on free ports, storing in a folder; skips the test where it is not installed.

    Further options go into its configuration.
    """
    executable = command("Orthanc")
    if not DICOMWEB_PLUGIN.exists():
        pytest.skip("the DICOMweb plugin is not installed: apt-get install orthanc-dicomweb")
    server = Orthanc(free_port(), free_port())
    configuration = {
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "DicomPort": server.dicom_port,
        "HttpPort": server.http_port,
        "RemoteAccessAllowed": False,
        "Plugins": [str(DICOMWEB_PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        **options,
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([executable, folder / "orthanc.json"], stdout=log, stderr=log) as process,  # noqa: S603
    ):
        try:
            _wait_for(server)
            yield server
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(server: Orthanc) -> None:
    give_up = time.monotonic() + START_S
    for port in (server.http_port, server.dicom_port):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.2)
