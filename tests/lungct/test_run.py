"""The output folder is written all at once or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lungct.errors import OutputError
from lungct.run import OutputFolder

OWN = ("report.pdf", "lobes.nii.gz", "dicom/seg.dcm")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(folder: OutputFolder) -> None:
    (folder.staging / "report.pdf").write_text("report")
    (folder.staging / "dicom").mkdir()
    (folder.staging / "dicom" / "seg.dcm").write_text("mask")


def test_published_files_and_result_are_all_that_remains(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "new" / "out", OWN) as folder:
        (folder.staging / "report.pdf").write_text("report")
        assert folder.publish() == ["report.pdf"]
        folder.write_result("{}")
    assert files(tmp_path / "new" / "out") == ["report.pdf", "result.json"]


def test_sub_folders_are_published_and_taken_back_with_their_files(tmp_path: Path) -> None:
    with OutputFolder(tmp_path, OWN) as folder:
        fill(folder)
        assert folder.publish() == ["dicom/seg.dcm", "report.pdf"]
        assert (tmp_path / "dicom" / "seg.dcm").read_text() == "mask"
    assert files(tmp_path) == []


def test_sub_folder_with_files_of_others_stays(tmp_path: Path) -> None:
    leave_results(tmp_path)
    (tmp_path / "dicom" / "theirs.dcm").touch()
    with OutputFolder(tmp_path, OWN):
        assert files(tmp_path / "dicom") == ["theirs.dcm"]


def test_file_that_the_earlier_result_does_not_name_is_not_ours(tmp_path: Path) -> None:
    leave_results(tmp_path)
    (tmp_path / "lobes.nii.gz").touch()
    with (
        pytest.raises(OutputError, match="holds a lobes.nii.gz of another origin"),
        OutputFolder(tmp_path, OWN),
    ):
        pass
    assert "lobes.nii.gz" in files(tmp_path)


def test_sub_folder_that_was_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / "dicom").mkdir()
    with OutputFolder(tmp_path, OWN) as folder:
        fill(folder)
        folder.publish()
    assert files(tmp_path) == ["dicom"]
    assert files(tmp_path / "dicom") == []


def test_unpublished_files_disappear(tmp_path: Path) -> None:
    with OutputFolder(tmp_path, OWN) as folder:
        fill(folder)
        folder.discard()
        folder.write_result("{}")
    assert files(tmp_path) == ["result.json"]


def leave_results(folder: Path) -> None:
    with OutputFolder(folder, OWN) as earlier:
        fill(earlier)
        result = {"schema_version": "1.0", "application_version": "0", "status": "analysed"}
        earlier.write_result(json.dumps(result | {"outputs": earlier.publish()}))


def test_files_of_an_earlier_run_disappear_and_others_stay(tmp_path: Path) -> None:
    leave_results(tmp_path)
    (tmp_path / "notes.txt").write_text("of somebody else")
    with OutputFolder(tmp_path, OWN):
        pass
    assert files(tmp_path) == ["notes.txt"]


@pytest.mark.fault("machine", "Folder in which a run was killed", "cleaned by the next run")
def test_what_a_killed_run_left_behind_disappears(tmp_path: Path) -> None:
    (tmp_path / ".lungct-abc").mkdir()
    (tmp_path / ".lungct-abc" / "report.pdf").touch()
    (tmp_path / "report.pdf").touch()
    with OutputFolder(tmp_path, OWN):
        pass
    assert files(tmp_path) == []


@pytest.mark.parametrize("name", ["report.pdf", "result.json"])
@pytest.mark.fault(
    "machine",
    "Output folder with a {name} of another origin",
    "exit code 5, nothing is removed",
)
def test_files_of_others_are_never_removed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("[]")
    with pytest.raises(OutputError, match=f"holds a {name} of another origin"), OutputFolder(tmp_path, OWN):
        pass
    assert files(tmp_path) == [name]


@pytest.mark.fault(
    "machine",
    "Two runs into one folder at once",
    "the second: exit code 5, `OUTPUT_IN_USE`; the first is not disturbed",
)
def test_second_run_into_the_same_folder_is_refused(tmp_path: Path) -> None:
    with OutputFolder(tmp_path, OWN) as first:
        (first.staging / "report.pdf").write_text("of the first")
        with pytest.raises(OutputError, match="another run"), OutputFolder(tmp_path, OWN):
            pass
        assert first.publish() == ["report.pdf"]


@pytest.mark.fault("machine", "File system without locks", "written")
def test_file_system_without_locks_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with OutputFolder(tmp_path, OWN) as folder:
        folder.write_result("{}")
    assert files(tmp_path) == ["result.json"]


def test_report_without_result_is_taken_back(tmp_path: Path) -> None:
    with OutputFolder(tmp_path, OWN) as folder:
        (folder.staging / "report.pdf").write_text("report")
        folder.publish()
    assert files(tmp_path) == []


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="choose a writable folder"), OutputFolder(tmp_path / "out", OWN):
        pass


@pytest.mark.fault(
    "machine",
    "Results that cannot be moved to the folder",
    "exit code 5, none is left behind",
)
def test_failing_publication_leaves_nothing_behind(tmp_path: Path) -> None:
    with OutputFolder(tmp_path, OWN) as folder:
        fill(folder)
        (tmp_path / "report.pdf").mkdir()
        (tmp_path / "report.pdf" / "blocker").touch()
        with pytest.raises(OutputError):
            folder.publish()
        assert not (tmp_path / "dicom").exists()


@pytest.mark.fault(
    "machine",
    "`result.json` cannot be written",
    "exit code 5, the other files are taken back",
)
def test_unwritable_result_takes_the_published_files_back(tmp_path: Path) -> None:
    with OutputFolder(tmp_path, OWN) as folder:
        (folder.staging / "report.pdf").write_text("report")
        folder.publish()
        (tmp_path / "result.json").mkdir()
        (tmp_path / "result.json" / "blocker").touch()
        with pytest.raises(OutputError):
            folder.write_result("{}")
    assert files(tmp_path) == ["result.json"]


MOMENTS = ("before publishing", "between two files", "before result.json", "while result.json is written")

KILLED = """
import os, sys
from pathlib import Path
from lungct.run import OutputFolder

folder, moment, signal = sys.argv[1:]
strike = lambda at: os.kill(os.getpid(), int(signal)) if at == moment else None
replace, write_text, published = Path.replace, Path.write_text, []

def replacing(path, target):
    published.append(target)
    strike("between two files" if len(published) == 2 else "")
    return replace(path, target)

def writing(path, text, **options):
    write_text(path, text[:1], **options)
    strike("while result.json is written" if path.name == "result.json" else "")
    return write_text(path, text, **options)

Path.replace, Path.write_text = replacing, writing
with OutputFolder(Path(folder), ("report.pdf", "lobes.nii.gz")) as output:
    for name in ("report.pdf", "lobes.nii.gz"):
        (output.staging / name).write_bytes(b"finding")
    strike("before publishing")
    output.publish()
    strike("before result.json")
    output.write_result('{"status": "analysed"}')
"""


@pytest.mark.fault(
    "machine", "Killed by {stop} {moment}", "no `result.json`; the next run removes what was left behind"
)
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM])
def test_killed_run_leaves_nothing_that_counts(tmp_path: Path, stop: signal.Signals, moment: str) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "out"), moment, str(stop.value)]
    killed = subprocess.run(command, check=False)  # noqa: S603
    assert killed.returncode == -stop
    assert "result.json" not in files(tmp_path / "out")
    with OutputFolder(tmp_path / "out", OWN):
        pass
    assert files(tmp_path / "out") == []
