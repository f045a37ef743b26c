"""What the tests of the gateway share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dicom_tools import command
from tests.lungct_services.gateway.site import STABLE_AGE_S
from tests.orthanc import Orthanc, run_orthanc


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    command("storescu")
    folder = tmp_path / "orthanc"
    folder.mkdir()
    with run_orthanc(folder, StableAge=STABLE_AGE_S) as server:
        yield server
