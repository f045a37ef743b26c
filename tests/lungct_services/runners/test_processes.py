"""How studies are analysed: programs without a shell, workers that are renewed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lungct_services.jobs.errors import TransientError
from lungct_services.runners.processes import CommandRunner, RunnerSettings, WorkerRunner, make_runner
from tests.lungct_services.gateway.site import wait_until

ODD_WORKER = "tests.lungct_services.runners.odd_worker"


def command(script: str, *arguments: str, timeout_s: float = 60) -> RunnerSettings:
    argv = (sys.executable, "-c", script, *arguments)
    return RunnerSettings(kind="command", argv=argv, timeout_s=timeout_s)


def make_worker(folder: Path, **settings: Any) -> WorkerRunner:
    return WorkerRunner(RunnerSettings(**{"timeout_s": 60, **settings}), folder / "log", ODD_WORKER)


def analysed_by(runner: WorkerRunner, folder: Path, n_study: int) -> list[str]:
    runner.run(folder / "study", folder / f"out{n_study}", "name")
    return (folder / f"out{n_study}" / "n_calls").read_text().split()


def test_a_command_gets_its_places_and_no_shell(tmp_path: Path) -> None:
    script = "import json, sys; open(sys.argv[2], 'w').write(json.dumps(sys.argv[1:]))"
    settings = command(script, "{input}", "{output}", "--name={name}", "$(touch /tmp/never); *")
    make_runner(settings, tmp_path / "log").run(tmp_path / "a b", tmp_path / "out", "lungct-1")
    expected = [f"{tmp_path}/a b", f"{tmp_path}/out", "--name=lungct-1", "$(touch /tmp/never); *"]
    assert json.loads((tmp_path / "out").read_text()) == expected


def test_a_command_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    child = "import sys, time; time.sleep(4); open(sys.argv[1], 'w')"
    script = (
        "import subprocess, sys, time;"
        f"subprocess.Popen([sys.executable, '-c', {child!r}, sys.argv[2] + '-child']); time.sleep(60)"
    )
    runner = CommandRunner(command(script, "{input}", "{output}", timeout_s=2), tmp_path / "log")
    with pytest.raises(TransientError, match="TIMEOUT"):
        runner.run(tmp_path, tmp_path / "out", "name")
    time.sleep(4)
    assert not (tmp_path / "out-child").exists()


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    settings = RunnerSettings(kind="command", argv=("/no/such/program", "{input}", "{output}"))
    with pytest.raises(TransientError, match="COMMAND_NOT_STARTED"):
        CommandRunner(settings, tmp_path / "log").run(tmp_path, tmp_path / "out", "name")


def test_a_worker_stays_and_is_renewed_after_some_studies(tmp_path: Path) -> None:
    runner = make_worker(tmp_path, studies_per_worker=2)
    calls = [analysed_by(runner, tmp_path, n_study) for n_study in range(3)]
    runner.stop()
    assert [n_calls for n_calls, _ in calls] == ["1", "2", "1"]
    assert len({process for _, process in calls}) == 2


def test_a_worker_that_crashes_costs_one_study(tmp_path: Path) -> None:
    runner = make_worker(tmp_path)
    with pytest.raises(TransientError, match="WORKER_DIED"):
        runner.run(tmp_path / "crash", tmp_path / "out", "name")
    assert analysed_by(runner, tmp_path, 1)[0] == "1"
    runner.stop()


def test_a_worker_that_hangs_is_ended_and_replaced(tmp_path: Path) -> None:
    runner = make_worker(tmp_path, timeout_s=2)
    with pytest.raises(TransientError, match="TIMEOUT"):
        runner.run(tmp_path / "slow", tmp_path / "out", "name")
    assert analysed_by(runner, tmp_path, 1)[0] == "1"
    runner.stop()


def test_a_worker_that_cannot_write_its_results_says_so_and_goes_on(tmp_path: Path) -> None:
    runner = make_worker(tmp_path)
    with pytest.raises(TransientError, match="DISK_FULL"):
        runner.run(tmp_path / "full", tmp_path / "out", "name")
    assert analysed_by(runner, tmp_path, 1)[0] == "2"
    runner.stop()


def test_a_worker_sees_no_secret_of_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGCT_ORTHANC_PASSWORD", "correct horse")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    script = "import json, os, sys; open(sys.argv[2], 'w').write(json.dumps(dict(os.environ)))"
    runner = CommandRunner(command(script, "{input}", "{output}"), tmp_path / "log")
    runner.run(tmp_path, tmp_path / "out", "name")
    environment = json.loads((tmp_path / "out").read_text())
    assert (environment["OMP_NUM_THREADS"], "correct horse" in environment.values()) == ("1", False)


def test_a_worker_that_asks_for_too_much_memory_does_not_get_it(tmp_path: Path) -> None:
    runner = make_worker(tmp_path, memory_gib=2)
    with pytest.raises(TransientError, match="WORKER_DIED"):
        runner.run(tmp_path / "greedy", tmp_path / "out", "name")
    assert "MemoryError" in (tmp_path / "log").read_text()


def test_a_worker_that_hangs_dies_with_its_parent(tmp_path: Path) -> None:
    request = json.dumps({"input": str(tmp_path / "slow"), "output": str(tmp_path / "out")})
    script = f"""
import subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-m", {ODD_WORKER!r}], stdin=subprocess.PIPE)
worker.stdin.write({request!r}.encode() + b"\\n")
worker.stdin.flush()
print(worker.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:  # noqa: S603
        assert parent.stdout
        worker = Path("/proc") / parent.stdout.readline().strip() / "status"
        wait_until((tmp_path / "slow.began").exists, "the worker hangs")
        parent.kill()
    wait_until(
        lambda: not worker.exists() or "zombie" in worker.read_text(), "the worker ended", timeout_s=30
    )
