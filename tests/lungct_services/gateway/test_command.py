"""The commands beside the service: what they print, and that they say when there is nothing to say."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lungct.command import main
from lungct_services.deidentify.pseudonyms import KEY_FILE, pseudonyms_of
from lungct_services.gateway.entries import Page
from lungct_services.gateway.jobs import DATABASE, GatewayJobs
from lungct_services.jobs.queue import Arrival


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Settings of a gateway that knows one study."""
    state = tmp_path / "state"
    pseudonyms_of(state / KEY_FILE)
    jobs = GatewayJobs(state)
    jobs.advance(Page((), 1, is_last=True), [Arrival("0123-orthanc", "abc", "v", 2)])
    jobs.close()
    path = tmp_path / "gateway.yaml"
    path.write_text(f"state_dir: {state}\n")
    return path


def call(settings: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["gateway", *arguments, "--settings", str(settings)])


def test_who_prints_the_address_of_a_study(settings: Path) -> None:
    assert call(settings, "who", "abc").stdout.endswith("#study?uuid=0123-orthanc\n")


@pytest.mark.parametrize("command", ["who", "again"])
def test_a_pseudonym_of_nobody_is_refused(settings: Path, command: str) -> None:
    refused = call(settings, command, "nonsense")
    assert (refused.exit_code, "no study is called nonsense" in refused.stderr) == (2, True)


@pytest.mark.parametrize("command", ["who", "again", "backup"])
def test_settings_of_no_gateway_are_refused_and_make_no_folder(tmp_path: Path, command: str) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(f"state_dir: {tmp_path / 'elsewhere'}\n")
    refused = call(path, command, str(tmp_path / "x"))
    assert (refused.exit_code, "holds no database" in refused.stderr) == (2, True)
    assert not (tmp_path / "elsewhere").exists()


def test_again_queues_a_study(settings: Path) -> None:
    assert call(settings, "again", "abc").stdout == "1 studies queued\n"


def test_a_backup_holds_database_and_key_for_its_owner_alone(settings: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    assert call(settings, "backup", str(folder)).exit_code == 0
    assert (folder / KEY_FILE).read_text() == (tmp_path / "state" / KEY_FILE).read_text()
    with sqlite3.connect(folder / DATABASE) as copy:
        assert copy.execute("SELECT pseudonym FROM jobs").fetchall() == [("abc",)]
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}
    assert call(settings, "backup", str(folder)).exit_code == 2
