"""An Orthanc and a runner in memory, whose every call can be the last one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pydicom
from pydicom import Dataset, dcmread
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from lungct_services.gateway.entries import Change, Page, SeriesEntry, StudyEntry
from lungct_services.gateway.orthanc import SendingState
from lungct_services.gateway.settings import Destination
from lungct_services.jobs.errors import FinalError, TransientError


class Killed(BaseException):
    """The process ends here; nothing may catch it."""


@dataclass
class Bomb:
    """Ends everything at one of the moments just before and just after a call."""

    goes_off_at: int | None = None
    n_moments: int = 0

    def watch(self, watched: Any) -> Any:
        """The same object; each of its calls is two moments."""
        return _Watched(watched, self)

    def tick(self) -> None:
        self.n_moments += 1
        if self.n_moments - 1 == self.goes_off_at:
            raise Killed


class _Watched:
    def __init__(self, watched: Any, bomb: Bomb) -> None:
        self._watched, self._bomb = watched, bomb

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._watched, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **named: Any) -> Any:
            self._bomb.tick()
            answer = value(*arguments, **named)
            self._bomb.tick()
            return answer

        return call


@cache
def _header(path: Path) -> Dataset:
    return dcmread(path, stop_before_pixels=True)


@dataclass
class MemoryOrthanc:
    """One study, the results that it was given, and where it sent them."""

    study_id: str = "study"
    images: dict[str, Path] = field(default_factory=dict)
    results: dict[str, bytes] = field(default_factory=dict)
    sent: dict[str, set[str]] = field(default_factory=dict)
    feed: list[Change] = field(default_factory=list)
    is_stable: bool = True
    set_up: str = "20261128"
    modality: str = "CT"
    downloaded: list[str] = field(default_factory=list)
    refuse: Callable[[str], bool] = lambda _: False
    pace: SendingState = "done"
    cancelled: list[str] = field(default_factory=list)

    def receive(self, paths: list[Path], kind: str = "StableStudy") -> None:
        self.images |= {path.name: path for path in paths}
        self._note(kind)

    def _note(self, kind: str) -> None:
        self.feed.append(Change(len(self.feed) + 1, kind, self.study_id, f"{self.set_up}T{len(self.feed)}"))

    def delete_study(self) -> None:
        """Orthanc drops the changes of a study together with it."""
        self.images.clear()
        self.results.clear()
        self.feed = [Change(change.sequence, "DeletedAll", "", "") for change in self.feed]

    def last_changes(self) -> Page:
        return Page(tuple(self.feed[-1:]), len(self.feed), is_last=True)

    def changes(self, since: int, limit: int = 2) -> Page:
        page = tuple(self.feed[since : since + limit])
        return Page(page, since + len(page), is_last=since + limit >= len(self.feed))

    def study_ids(self) -> list[str]:
        return [self.study_id] if self.images or self.results else []

    def study(self, study_id: str) -> StudyEntry:
        if study_id != self.study_id or not self.study_ids():
            raise FinalError("GONE")
        uids = dict.fromkeys(self._series_uid(name) for name in sorted(self.images))
        series = [SeriesEntry(uid, uid, self.modality, tuple(self._of_series(uid))) for uid in uids]
        if self.results:
            series.append(SeriesEntry("ours", "1.2.3.4", "SEG", tuple(self.results)))
        return StudyEntry(study_id, "1.2.3", "20200401", self.is_stable, tuple(series))

    def _series_uid(self, name: str) -> str:
        return str(_header(self.images[name]).SeriesInstanceUID)

    def _of_series(self, uid: str) -> dict[str, Path]:
        return {name: path for name, path in sorted(self.images.items()) if self._series_uid(name) == uid}

    def study_of(self, *_: str) -> str:
        return self.study_id

    def headers(self, _: str, series_uid: str) -> list[Dataset]:
        return [_header(path) for path in self._of_series(series_uid).values()]

    def n_bytes(self, series_id: str) -> int:
        return sum(path.stat().st_size for path in self._of_series(series_id).values())

    def called_aet(self, _: str) -> str:
        return "ORTHANC"

    def download(self, instance_id: str, path: Path) -> None:
        self.downloaded.append(instance_id)
        path.write_bytes(self.images[instance_id].read_bytes())

    def store(self, path: Path) -> str:
        uid = str(dcmread(path).SOPInstanceUID)
        if uid not in self.results:
            self.results[uid] = path.read_bytes()
            self._note("StableStudy")
        return uid

    def find_instance(self, uid: str) -> str | None:
        return uid if uid in self.results else None

    def delete(self, instance_id: str) -> None:
        self.results.pop(instance_id, None)

    def start_sending(self, destination: Destination, instance_ids: list[str]) -> str:
        if self.refuse(destination.name):
            raise TransientError("DESTINATION_ORTHANC_500")
        if self.sending_state("") == "done":
            self.sent.setdefault(destination.name, set()).update(instance_ids)
        return f"to {destination.name}"

    def sending_state(self, _: str) -> SendingState:
        return self.pace

    def cancel_sending(self, job_id: str) -> None:
        self.cancelled.append(job_id)


@dataclass
class MemoryRunner:
    """Every run finds something else, so that two runs cannot pass for one.

    Attributes:
        sets: UIDs of the objects of each run.
        n_images: images of each run.
        result: what ``result.json`` says.
    """

    sets: list[set[str]] = field(default_factory=list)
    n_images: list[int] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=lambda: {"status": "analysed", "reason": None})
    n_objects: int = 2
    meanwhile: Callable[[], None] = lambda: None

    def run(self, study: Path, results: Path, name: str) -> None:
        assert name.startswith("lungct-")
        self.n_images.append(len(list(study.iterdir())))
        (results / "dicom").mkdir(parents=True)
        (results / "result.json").write_text(json.dumps(self.result))
        uids = [generate_uid() for _ in range(self.n_objects)]
        for uid in uids:
            dataset = Dataset()
            dataset.SOPInstanceUID, dataset.SOPClassUID = uid, SecondaryCaptureImageStorage
            dataset.file_meta = pydicom.dataset.FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
            dataset.save_as(results / "dicom" / f"{uid}.dcm", enforce_file_format=True)
        self.sets.append(set(uids))
        self.meanwhile()

    def stop(self) -> None:
        pass
