"""The calls of Orthanc's REST interface that the gateway needs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal

import requests
from pydicom import Dataset
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from urllib3.exceptions import HTTPError, ReadTimeoutError

from lungct.dicom_read.headers import DAMAGED
from lungct_services.gateway.entries import Page, StudyEntry, entry_of, page_of
from lungct_services.gateway.settings import Destination, OrthancSettings
from lungct_services.jobs.errors import FinalError, TransientError, Unreachable

PAGE_SIZE = 100
_CHUNK_BYTES = 1 << 20
_CONNECTION_RETRIES = Retry(
    total=2,
    connect=2,
    read=False,
    redirect=False,
    status=False,
    other=0,
    backoff_factor=0.2,
    respect_retry_after_header=False,
)
_OK, _NOT_FOUND, _SERVER_ERROR, _BAD_GATEWAY = 200, 404, 500, 502
_SEND_PATHS = {
    "modality": "/modalities/{}/store",
    "peer": "/peers/{}/store",
    "dicomweb": "/dicom-web/servers/{}/stow",
}

SendingState = Literal["pending", "done", "failed"]
_SENDING_STATES: dict[str, SendingState] = {"Success": "done", "Failure": "failed"}


class Orthanc:
    """A client; one for each thread, since sessions are not shared."""

    def __init__(self, settings: OrthancSettings, stopping: threading.Event | None = None) -> None:
        """Prepare a session; nothing is sent yet.

        Args:
            settings: address, access and time limits.
            stopping: ends downloads as soon as it is set.

        Raises:
            SettingsError: the password cannot be read.
        """
        self._url = settings.url.rstrip("/")
        self._timeout_s, self._transfer_s = settings.timeout_s, settings.transfer_s
        self._stopping = stopping or threading.Event()
        self._session = requests.Session()
        # no proxies, no .netrc: the settings alone decide who gets the password
        self._session.trust_env = False
        self._session.verify = str(settings.ca_file) if settings.ca_file else True
        if settings.username:
            self._session.auth = (settings.username, settings.password())
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=_CONNECTION_RETRIES))

    def changes(self, since: int, limit: int = PAGE_SIZE) -> Page:
        """Return what happened after a sequence number."""
        return page_of(self._json("GET", "/changes", params={"since": since, "limit": limit}))

    def last_changes(self) -> Page:
        """Return the newest change; none where nothing ever happened."""
        return page_of(self._json("GET", "/changes?last"))

    def study_ids(self) -> Iterator[str]:
        """Yield the IDs of all studies."""
        since = 0
        while ids := self._json("GET", "/studies", params={"since": since, "limit": PAGE_SIZE}):
            yield from map(str, ids)
            since += len(ids)

    def study_of(self, level: Literal["series", "instances"], resource_id: str) -> str:
        """Return Orthanc's ID of the study that a series or an instance belongs to."""
        return str(self._json("GET", f"/{level}/{resource_id}/study")["ID"])

    def study(self, study_id: str) -> StudyEntry:
        """Return a study and its series."""
        study = self._json("GET", f"/studies/{study_id}")
        series = self._json("GET", f"/studies/{study_id}/series")
        try:
            return entry_of(study, series)
        except (KeyError, TypeError):
            raise TransientError("ORTHANC_ANSWER") from None

    def headers(self, study_uid: str, series_uid: str) -> Iterator[Dataset]:
        """Yield the attributes of all images of a series, without pixels; none where they make no sense."""
        path = f"/dicom-web/studies/{study_uid}/series/{series_uid}/metadata"
        for item in self._json("GET", path, headers={"Accept": "application/dicom+json"}):
            try:
                yield Dataset.from_json(item, bulk_data_uri_handler=lambda *_: b"")
            except DAMAGED:
                yield Dataset()

    def n_bytes(self, series_id: str) -> int:
        """Return the size of the files of a series."""
        return int(self._json("GET", f"/series/{series_id}/statistics")["DiskSize"])

    def called_aet(self, instance_id: str) -> str:
        """Return the AE title that an image was sent to; empty where it came another way."""
        try:
            with self._answer("GET", f"/instances/{instance_id}/metadata/CalledAET") as answer:
                return b"".join(self._pieces(answer)).decode("ascii", "replace").strip()
        except FinalError:
            return ""

    def download(self, instance_id: str, path: Path) -> None:
        """Write an image to a file.

        Raises:
            Unreachable: the service stops.
            TransientError: the image does not come within the time limit.
        """
        with self._answer("GET", f"/instances/{instance_id}/file") as answer, path.open("wb") as file:
            for piece in self._pieces(answer):
                if self._stopping.is_set():
                    raise Unreachable("STOPPING")
                file.write(piece)

    def store(self, path: Path) -> str:
        """Give Orthanc an object, and return its ID; an object that is there stays as it is."""
        with path.open("rb") as file:
            return str(self._json("POST", "/instances", data=file)["ID"])

    def find_instance(self, sop_instance_uid: str) -> str | None:
        """Return Orthanc's ID of an object; None where it has none."""
        found = self._json("POST", "/tools/lookup", data=sop_instance_uid)
        return next((item["ID"] for item in found if item["Type"] == "Instance"), None)

    def delete(self, instance_id: str) -> None:
        """Remove an object; fine where it is gone already."""
        try:
            with self._answer("DELETE", f"/instances/{instance_id}"):
                pass
        except FinalError as error:
            if error.code != "GONE":
                raise

    def start_sending(self, destination: Destination, instance_ids: list[str]) -> str:
        """Have Orthanc begin to send objects on; return the ID of its job.

        Raises:
            Unreachable: Orthanc does not answer.
            TransientError: Orthanc cannot send there; people can repair whatever it is.
        """
        path = _SEND_PATHS[destination.kind].format(destination.name)
        try:
            job = self._json("POST", path, json={"Resources": instance_ids, "Synchronous": False})
        except (FinalError, TransientError) as error:
            raise TransientError(f"DESTINATION_{error.code}") from error
        return str(job["ID"])

    def sending_state(self, job_id: str) -> SendingState:
        """Return how far a job of Orthanc is; one that Orthanc does not know any more has failed."""
        try:
            return _SENDING_STATES.get(self._json("GET", f"/jobs/{job_id}")["State"], "pending")
        except FinalError:
            return "failed"

    def cancel_sending(self, job_id: str) -> None:
        """End a job of Orthanc; fine if it ended by itself."""
        with suppress(FinalError, TransientError):
            self._json("POST", f"/jobs/{job_id}/cancel", json={})

    def _json(self, method: str, path: str, **options: Any) -> Any:
        with self._answer(method, path, **options) as answer:
            try:
                return json.loads(b"".join(self._pieces(answer)))
            except ValueError as error:
                raise TransientError("ORTHANC_ANSWER") from error

    def _pieces(self, answer: requests.Response) -> Iterator[bytes]:
        """Yield a body as it comes, for a limited time: each byte may come within the time-out of a read."""
        give_up = time.monotonic() + self._transfer_s
        while piece := answer.raw.read1(_CHUNK_BYTES, decode_content=True):
            yield piece
            if time.monotonic() > give_up:
                raise TransientError("ORTHANC_TIMEOUT")

    @contextmanager
    def _answer(self, method: str, path: str, **options: Any) -> Iterator[requests.Response]:
        """Yield an answer of 200; errors leave without URL and text, which may name a patient."""
        try:
            with self._request(method, path, **options) as answer:
                self._check(answer, path)
                yield answer
        except requests.exceptions.SSLError:
            raise Unreachable("ORTHANC_CERTIFICATE") from None
        except (requests.exceptions.ReadTimeout, ReadTimeoutError):
            raise TransientError("ORTHANC_TIMEOUT") from None
        except (requests.RequestException, HTTPError):
            raise Unreachable("ORTHANC_UNREACHABLE") from None
        except OSError:
            raise TransientError("DISK") from None

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        return self._session.request(
            method, self._url + path, timeout=self._timeout_s, allow_redirects=False, stream=True, **options
        )

    def _check(self, answer: requests.Response, path: str) -> None:
        """Raise unless the answer is 200; what a front end says about itself is not said about the study."""
        match answer.status_code:
            case 200:
                return
            case 401 | 403:
                raise Unreachable("ORTHANC_REFUSES")
            case 429 | 503:
                raise Unreachable("ORTHANC_BUSY", _seconds_to_wait(answer.headers.get("Retry-After", "")))
            case 504:
                raise TransientError("ORTHANC_TIMEOUT")
            case 404 if self._can_list(path):
                raise FinalError("GONE")
            case status if status >= _SERVER_ERROR and status != _BAD_GATEWAY:
                raise TransientError(f"ORTHANC_{status}")
            case status if "OrthancStatus" in _known_fields(answer):
                raise FinalError(f"ORTHANC_{status}")
            case status:
                raise Unreachable(f"FRONT_END_{status}")

    def _can_list(self, path: str) -> bool:
        """Return whether Orthanc itself answers where a resource was asked for; its own 404 has no body."""
        listing = f"/{path.split('/')[1]}?since=0&limit=1"
        with self._request("GET", listing) as answer:
            if answer.status_code == _NOT_FOUND:
                return "OrthancStatus" in _known_fields(answer)  # a route that has no list
            return answer.status_code == _OK and answer.content.lstrip()[:1] == b"["


def _known_fields(answer: requests.Response) -> dict[str, Any]:
    """Return the fields of a JSON object; Orthanc describes most of its errors by one."""
    try:
        fields = answer.json()
    except requests.exceptions.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _seconds_to_wait(retry_after: str) -> float:
    """Return the seconds that a header ``Retry-After`` asks for, as a number or as a date (RFC 9110)."""
    try:
        if retry_after.strip().isdecimal():
            return float(retry_after)
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
