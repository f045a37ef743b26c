"""A hospital in small: an Orthanc, the gateway as a process of its own, senders and tiny studies."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import yaml
from pydicom import dcmread

from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions
from tests.orthanc import Orthanc, free_port

ROOT = Path(__file__).resolve().parents[3]
WITHOUT_NETWORKS = ("-m", "tests.lungct_services.gateway.without_networks", "run")
WITH_NETWORKS = ("-m", "lungct", "gateway", "run", "--settings")
STABLE_AGE_S = 2
PATIENT = "Quaxolotl^Zenobia"
PATIENT_ID = "ID-77310955"


def small_chest(seed: int, n_slices: int = 55) -> np.ndarray:
    """A box of air in a box of soft tissue, in Hounsfield units; 3 mm a slice make it a chest."""
    volume = np.full((55, 24, 24), 40, np.int16)
    volume[4:50, 4:20, 4:20] = -850
    volume += np.random.default_rng(seed).integers(-20, 20, volume.shape, dtype=np.int16)
    return volume[:n_slices]


def write_chest(folder: Path, seed: int, n_slices: int = 55, **options: object) -> list[Path]:
    """A study that is eligible unless options make it another; the seed decides study and patient."""
    common = StudyOptions(
        seed=seed, spacing_mm=(3, 5, 5), patient_name=PATIENT, patient_id=f"{PATIENT_ID}-{seed}"
    )
    return write_study(small_chest(seed, n_slices), folder, replace(common, **options))


@dataclass
class Gateway:
    """The gateway under test; settings beyond the common ones go into the file."""

    folder: Path
    orthanc: Orthanc
    settings: dict[str, object] = field(default_factory=dict)
    program: tuple[str, ...] = WITHOUT_NETWORKS
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self.port = free_port()
        content = {
            "state_dir": str(self.folder / "state"),
            "retry": {"base_s": 0.5, "cap_s": 2, "max_attempts": 3},
            "drain_s": 60,
            **self.settings,
            "orthanc": {
                "url": f"http://127.0.0.1:{self.orthanc.http_port}",
                "poll_s": 0.2,
                "first_start": "beginning",
                **self.settings.get("orthanc", {}),  # type: ignore[dict-item]
            },
            "web": {"port": self.port, **self.settings.get("web", {})},  # type: ignore[dict-item]
        }
        self.settings_file = self.folder / "gateway.yaml"
        self.settings_file.write_text(yaml.safe_dump(content))
        self.log_file = self.folder / "gateway.log"

    def start(self) -> None:
        command = [sys.executable, *self.program, str(self.settings_file)]
        with self.log_file.open("a") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stderr=log, text=True)  # noqa: S603

    def kill(self) -> None:
        """As the kernel does when memory runs out: no chance to tidy up."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """As systemd does."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=120)

    def n_starts(self) -> int:
        return self.log_file.read_text().count('"started"')

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """What the database says; nothing where there is none yet."""
        database = self.folder / "state" / "gateway.sqlite"
        try:
            with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10) as connection:
                return connection.execute(sql).fetchall()
        except sqlite3.OperationalError:
            return []

    def ended(self) -> list[tuple[object, ...]]:
        """Jobs that are at an end."""
        return self.rows("SELECT id FROM jobs WHERE ended IS NOT NULL AND NOT active")


def wait_until(is_so: Callable[[], bool], what: str, timeout_s: float = 300) -> None:
    """Look twice a second, with patience for a busy machine."""
    give_up = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < give_up, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.5)


def study_uid(path: Path) -> str:
    return str(dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
