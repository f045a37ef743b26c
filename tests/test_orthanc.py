"""A real PACS takes every object over the network and gives it back unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.filereader import read_preamble

from tests.application_runs import REAL_STUDIES, PhantomRun, Run
from tests.dicom_tools import command, errors
from tests.orthanc import Orthanc, run_orthanc


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    command("storescu")
    with run_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


def without_file_meta(content: bytes) -> bytes:
    """The data set alone: whoever writes a file writes its own file meta information (PS3.10 7.1)."""
    file = BytesIO(content)
    read_preamble(file, force=False)
    meta = dcmread(BytesIO(content), specific_tags=[]).file_meta
    group_length_bytes = 12
    return content[file.tell() + group_length_bytes + meta.FileMetaInformationGroupLength :]


def assert_kept(orthanc: Orthanc, folder: Path) -> None:
    paths = sorted(folder.iterdir())
    assert errors(orthanc.store(*paths)) == []
    for path in paths:
        assert without_file_meta(orthanc.retrieve(path)) == without_file_meta(path.read_bytes()), path.name


def test_objects_of_the_phantom_are_kept(orthanc: Orthanc, phantom_run: PhantomRun) -> None:
    assert_kept(orthanc, phantom_run.run.out / "dicom")


@pytest.mark.parametrize("name", REAL_STUDIES)
def test_objects_of_real_studies_are_kept(
    orthanc: Orthanc, real_run: Callable[[str], Run], name: str
) -> None:
    assert_kept(orthanc, real_run(name).out / "dicom")
