"""The dozen calls of Orthanc's REST interface that the gateway needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import requests
from pydicom import Dataset
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from lungct.dicom_read.headers import DAMAGED
from lungct_services.gateway.errors import FinalError, TransientError, Unreachable
from lungct_services.gateway.settings import Destination, OrthancSettings

PAGE_SIZE = 100
_CHUNK_BYTES = 1 << 20
_CONNECTION_RETRIES = Retry(total=2, connect=2, read=0, redirect=0, status=0, other=0, backoff_factor=0.2)
_SEND_PATHS = {
    "modality": "/modalities/{}/store",
    "peer": "/peers/{}/store",
    "dicomweb": "/dicom-web/servers/{}/stow",
}


@dataclass(frozen=True)
class Change:
    """One line of the change feed."""

    sequence: int
    kind: str
    resource: str


@dataclass(frozen=True)
class Page:
    """A piece of the change feed; ``is_last`` where nothing newer is known."""

    changes: tuple[Change, ...]
    is_last: bool


@dataclass(frozen=True)
class SeriesEntry:
    """A series as Orthanc lists it: without a look into its images."""

    id: str
    uid: str
    modality: str
    instances: tuple[str, ...]


@dataclass(frozen=True)
class StudyEntry:
    """A study as Orthanc lists it. Never logged."""

    id: str
    uid: str = field(repr=False)
    study_date: str = field(repr=False)
    is_stable: bool
    series: tuple[SeriesEntry, ...]


class Orthanc:
    """A client; one for each thread, since sessions are not shared."""

    def __init__(self, settings: OrthancSettings) -> None:
        """Prepare a session; nothing is sent yet.

        Raises:
            SettingsError: the password cannot be read.
        """
        self._url = settings.url.rstrip("/")
        self._timeout_s = settings.timeout_s
        self._session = requests.Session()
        self._session.trust_env = (
            False  # no proxies, no .netrc: the settings alone decide who gets the password
        )
        self._session.verify = str(settings.ca_file) if settings.ca_file else True
        if settings.username:
            self._session.auth = (settings.username, settings.password())
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=_CONNECTION_RETRIES))

    def changes(self, since: int) -> Page:
        """What happened after a sequence number."""
        page = self._json("GET", "/changes", params={"since": since, "limit": PAGE_SIZE})
        changes = (Change(item["Seq"], item["ChangeType"], item["ID"]) for item in page["Changes"])
        return Page(tuple(changes), is_last=page["Done"])

    def last_sequence(self) -> int:
        """Sequence number of the newest change; 0 where there is none."""
        return int(self._json("GET", "/changes?last")["Last"])

    def study_of(self, level: Literal["series", "instances"], resource_id: str) -> str:
        """Orthanc's ID of the study that a series or an instance belongs to."""
        return str(self._json("GET", f"/{level}/{resource_id}/study")["ID"])

    def study(self, study_id: str) -> StudyEntry:
        """A study and its series."""
        study = self._json("GET", f"/studies/{study_id}")
        series = self._json("GET", f"/studies/{study_id}/series")
        try:
            return _study_entry(study, series)
        except (KeyError, TypeError):
            raise TransientError("ORTHANC_ANSWER") from None

    def headers(self, study_uid: str, series_uid: str) -> Iterator[Dataset]:
        """All attributes of all images of a series, without pixels; none where they make no sense."""
        path = f"/dicom-web/studies/{study_uid}/series/{series_uid}/metadata"
        for item in self._json("GET", path, headers={"Accept": "application/dicom+json"}):
            try:
                yield Dataset.from_json(item, bulk_data_uri_handler=lambda *_: b"")
            except DAMAGED:
                yield Dataset()

    def n_bytes(self, series_id: str) -> int:
        """Size of the files of a series."""
        return int(self._json("GET", f"/series/{series_id}/statistics")["DiskSize"])

    def called_aet(self, instance_id: str) -> str:
        """The AE title that an image was sent to; empty where it came another way."""
        try:
            with self._answer("GET", f"/instances/{instance_id}/metadata/CalledAET") as answer:
                return answer.text.strip()
        except FinalError:
            return ""

    def download(self, instance_id: str, path: Path) -> None:
        """Write an image to a file."""
        with (
            self._answer("GET", f"/instances/{instance_id}/file", stream=True) as answer,
            path.open("wb") as file,
        ):
            for chunk in answer.iter_content(_CHUNK_BYTES):
                file.write(chunk)

    def store(self, path: Path) -> str:
        """Give Orthanc an object; returns its ID. An object that is there stays as it is."""
        with path.open("rb") as file:
            return str(self._json("POST", "/instances", data=file)["ID"])

    def find_instance(self, sop_instance_uid: str) -> str | None:
        """Orthanc's ID of an object."""
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

    def send(self, destination: Destination, instance_ids: list[str]) -> None:
        """Have Orthanc send objects on, and wait until it has."""
        path = _SEND_PATHS[destination.kind].format(destination.name)
        body = {"Resources": instance_ids, "Synchronous": True}
        try:
            self._json("POST", path, json=body)
        except (FinalError, TransientError) as error:  # whatever it is, people can repair it
            raise TransientError(f"DESTINATION_{error.code}") from error

    def _json(self, method: str, path: str, **options: Any) -> Any:
        with self._answer(method, path, **options) as answer:
            try:
                return answer.json()
            except json.JSONDecodeError as error:
                raise TransientError("ORTHANC_ANSWER") from error

    @contextmanager
    def _answer(self, method: str, path: str, **options: Any) -> Iterator[requests.Response]:
        """An answer of 200; errors leave without URL and text, which may name a patient."""
        try:
            with self._session.request(
                method, self._url + path, timeout=self._timeout_s, allow_redirects=False, **options
            ) as answer:
                _check(answer.status_code)
                yield answer
        except requests.exceptions.SSLError:
            raise Unreachable("ORTHANC_CERTIFICATE") from None
        except requests.RequestException:
            raise Unreachable("ORTHANC_UNREACHABLE") from None
        except OSError:
            raise TransientError("DISK") from None


def _study_entry(study: dict[str, Any], series: list[dict[str, Any]]) -> StudyEntry:
    entries = (
        SeriesEntry(
            item["ID"],
            item["MainDicomTags"].get("SeriesInstanceUID", ""),
            item["MainDicomTags"].get("Modality", ""),
            tuple(sorted(item["Instances"])),
        )
        for item in series
    )
    tags = study["MainDicomTags"]
    return StudyEntry(
        study["ID"], tags["StudyInstanceUID"], tags.get("StudyDate", ""), study["IsStable"], tuple(entries)
    )


def _check(status: int) -> None:
    if status in (401, 403):
        raise Unreachable("ORTHANC_REFUSES")
    if status == 404:
        raise FinalError("GONE")
    if status >= 500:
        raise TransientError(f"ORTHANC_{status}")
    if status != 200:
        raise FinalError(f"ORTHANC_{status}")
