"""``lungct analyse`` on input that cannot be analysed; tests/packaging analyses a phantom with it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import lungct.command.archive
from lungct.command.analyse import analyse


def run(*arguments: object) -> Result:
    return CliRunner().invoke(analyse, list(map(str, arguments)))


def packed(folder: Path, *names: str) -> Path:
    archive = folder / "study.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, b"not a DICOM file " * 100)
    return archive


def test_folder_without_dicom_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    result = run(tmp_path / "study", "-o", tmp_path / "out")
    told = json.loads((tmp_path / "out/result.json").read_text())
    assert (result.exit_code, told["status"]) == (4, "bad_input")


def test_last_line_names_the_file_to_read(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    last = run(tmp_path / "study", "-o", tmp_path / "out").stdout.splitlines()[-1]
    assert last == f"Result: {tmp_path / 'out/result.json'}"


def test_content_of_an_archive_is_scanned(tmp_path: Path) -> None:
    archive = packed(tmp_path, "a/1.txt", "b/2.txt")
    run(archive, "-o", tmp_path / "out")
    told = json.loads((tmp_path / "out/result.json").read_text())
    assert [file["name"] for file in told["input"]["skipped_files"]] == ["a/1.txt", "b/2.txt"]


def outside(folder: Path, _: pytest.MonkeyPatch) -> tuple[Path, str]:
    return packed(folder, "../escaped.txt"), "UNSAFE_ARCHIVE"


def absolute(folder: Path, _: pytest.MonkeyPatch) -> tuple[Path, str]:
    return packed(folder, f"{folder}/escaped.txt"), "UNSAFE_ARCHIVE"


def damaged(folder: Path, _: pytest.MonkeyPatch) -> tuple[Path, str]:
    archive = packed(folder, "1.txt")
    content = bytearray(archive.read_bytes())
    content[40:45] = b"\xff" * 5
    archive.write_bytes(content)
    return archive, "BAD_ARCHIVE"


def encrypted(folder: Path, _: pytest.MonkeyPatch) -> tuple[Path, str]:
    archive = packed(folder, "1.txt")
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    return archive, "ARCHIVE_ENCRYPTED"


def too_many_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    monkeypatch.setattr(lungct.command.archive, "MAX_FILES", 1)
    return packed(folder, "1.txt", "2.txt"), "ARCHIVE_TOO_LARGE"


def too_large(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    monkeypatch.setattr(lungct.command.archive, "MAX_BYTES", 1000)
    return packed(folder, "1.txt"), "ARCHIVE_TOO_LARGE"


@pytest.mark.parametrize("make", [outside, absolute, damaged, encrypted, too_many_files, too_large])
def test_archive_is_refused_with_a_result_and_leaves_nothing(
    make: Callable[[Path, pytest.MonkeyPatch], tuple[Path, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    archive, code = make(tmp_path, monkeypatch)
    result = run(archive, "-o", tmp_path / "out")
    told = json.loads((tmp_path / "out/result.json").read_text())
    assert (result.exit_code, told["reason"]["code"]) == (4, code)
    assert not list(tmp_path.rglob("escaped.txt"))
    assert not list((tmp_path / "temporary").iterdir())


def test_settings_with_a_mistake_end_it_before_the_study_is_read(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "site.yaml").write_text("lungct: {devise: cpu}")
    result = CliRunner().invoke(
        lungct.command.main,
        [
            "analyse",
            str(tmp_path / "study"),
            "-o",
            str(tmp_path / "out"),
            "--settings",
            str(tmp_path / "site.yaml"),
        ],
    )
    assert (result.exit_code, "lungct.devise" in result.output) == (2, True)


def test_option_beats_the_device_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "site.yaml").write_text("lungct: {device: cuda}")
    arguments = [tmp_path / "study", "-o", tmp_path / "out", "--settings", tmp_path / "site.yaml"]
    assert run(*arguments, "--device", "cpu").exit_code == 4


@pytest.mark.parametrize("code", ["NOT_CT", "no code"])
def test_rule_that_may_not_be_set_aside_is_a_wrong_setting(tmp_path: Path, code: str) -> None:
    (tmp_path / "study").mkdir()
    result = run(tmp_path / "study", "-o", tmp_path / "out", "--accept", code)
    told = json.loads((tmp_path / "out/result.json").read_text())
    assert (result.exit_code, told["status"]) == (2, "bad_settings")
    assert code in told["reason"]["message"]
