"""The queue survives full disks, locks, clocks that jump and urgent studies without end."""

from __future__ import annotations

import resource
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lungct_services.jobs.queue import Arrival, Job, Jobs, State, add_job

YEAR_S = 365 * 24 * 3600.0


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    jobs = Jobs(tmp_path / "jobs.sqlite")
    jobs.take_over()
    yield jobs
    jobs.close()


def add(jobs: Jobs, study: str, priority: int = 2) -> None:
    with jobs.transaction() as execute:
        add_job(execute, Arrival(study, study, "v", priority))


def claim(jobs: Jobs, **options: float) -> Job:
    job = jobs.claim(**options)
    assert job is not None
    return job


def test_a_job_that_cannot_be_given_back_while_the_database_is_locked_is_claimed_again(
    jobs: Jobs, tmp_path: Path
) -> None:
    add(jobs, "a")
    job = claim(jobs)
    with sqlite3.connect(tmp_path / "jobs.sqlite", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            jobs.give_back(job, State.DONE)
        other.execute("ROLLBACK")
    assert jobs.claim() is None  # its thread still holds it
    jobs.let_go(job)
    assert claim(jobs).id == job.id


def test_a_job_that_cannot_be_given_back_on_a_full_disk_is_claimed_again(jobs: Jobs, tmp_path: Path) -> None:
    add(jobs, "a")
    job = claim(jobs)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "jobs.sqlite-wal").stat().st_size, hard))
    try:
        with pytest.raises(sqlite3.OperationalError):
            jobs.give_back(job, State.DONE, "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    jobs.let_go(job)
    again = claim(jobs)
    jobs.give_back(again, State.DONE)
    assert (again.id, jobs.counts()[State.DONE]) == (job.id, 1)


def test_a_pause_does_not_depend_on_the_clock_on_the_wall(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(jobs, "a")
    job = claim(jobs)
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now - YEAR_S)
    jobs.give_back(job, State.QUEUED, pause_s=0.1)
    jobs.let_go(job)
    time.sleep(0.2)
    assert claim(jobs).id == job.id


def test_a_clock_that_is_set_back_between_two_runs_delays_a_job_by_a_day_at_most(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(jobs, "a")
    job = claim(jobs)
    jobs.give_back(job, State.QUEUED, pause_s=10)
    jobs.close()
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now - YEAR_S)
    later = Jobs(tmp_path / "jobs.sqlite")
    later.take_over()
    assert later.rows("SELECT not_before FROM jobs")[0]["not_before"] <= now - YEAR_S + 24 * 3600 + 1
    later.close()


def test_urgent_studies_without_end_do_not_keep_others_waiting_for_ever(jobs: Jobs) -> None:
    add(jobs, "routine", priority=2)
    time.sleep(0.5)
    add(jobs, "stat", priority=0)
    assert claim(jobs, head_start_s=3600).study == "stat"
    add(jobs, "later stat", priority=0)
    assert claim(jobs, head_start_s=0.1).study == "routine"
