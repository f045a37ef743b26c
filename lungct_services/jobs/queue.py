"""The queue: the state of every version of every study, and what is to do next."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lungct_services.jobs.database import Database, Execute

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY,
    study TEXT NOT NULL,
    pseudonym TEXT NOT NULL,
    version TEXT NOT NULL,
    content TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL,
    priority INTEGER NOT NULL,
    active INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    arrived REAL NOT NULL,
    ended REAL,
    UNIQUE (study, version)
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, priority, id);
"""
HEAD_START_S = 4 * 3600.0
"""Lead of a priority over the next; own decision: STAT passes what came up to eight hours earlier."""
_LONGEST_PAUSE_S = 24 * 3600.0
"""Longest pause of a job; own decision: above any that makes sense."""
_JOB_COLUMNS = "id, study, pseudonym, state, attempts, arrived"


class State(StrEnum):
    """State of a job; the last four are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    SENDING = "sending"
    DONE = "done"
    INELIGIBLE = "ineligible"
    SUPERSEDED = "superseded"
    FAILED = "failed"


@dataclass(frozen=True)
class Arrival:
    """A study that is complete and may be analysed.

    Attributes:
        version: digest of its CT instances; empty where it has none.
        priority: 0 comes first.
    """

    study: str
    pseudonym: str
    version: str
    priority: int


@dataclass(frozen=True)
class Job:
    """One version of one study; ``attempts`` counts the present one too."""

    id: int
    study: str
    pseudonym: str
    state: State
    attempts: int
    arrived: float


class Jobs(Database):
    """The jobs of a service; every method is one transaction and may be called from any thread."""

    def __init__(self, path: Path, schema: str = "") -> None:
        """Open the database, or make it.

        Args:
            path: file of the database.
            schema: statements for tables of the service beside those of the jobs.

        Raises:
            SettingsError: the database cannot be written.
        """
        super().__init__(path, _SCHEMA + schema)
        self._claiming = threading.Lock()
        self._held: set[int] = set()
        self._epoch = time.time() - time.monotonic()

    def take_over(self) -> None:
        """Become the service that works on these jobs, and take up those that a killed one left.

        Raises:
            SettingsError: another service runs.
        """
        self.lock()
        with self.transaction() as execute:
            execute("UPDATE jobs SET active = 0")
            # a clock that was set back must not make a job wait for years
            latest = self.now() + _LONGEST_PAUSE_S
            execute("UPDATE jobs SET not_before = min(not_before, ?)", (latest,))
            execute("UPDATE jobs SET state = ? WHERE state = ?", (State.QUEUED, State.RUNNING))

    def now(self) -> float:
        """Return the seconds since 1970 by a clock that nobody sets while the service runs."""
        return self._epoch + time.monotonic()

    def claim(self, *, sending: bool = False, head_start_s: float = HEAD_START_S) -> Job | None:
        """Return the next job that is due, by arrival and priority.

        It is active until it is given back or let go. Two versions of a study are never active at the same
        time. A job that was let go without a new state, since the database could not be written, is due
        again.

        Args:
            sending: whether a job is wanted whose results are sent, or one that is to be analysed.
            head_start_s: a job goes before those of the next priority that arrived up to so much earlier.
        """
        waiting, taken = (State.SENDING, State.SENDING) if sending else (State.QUEUED, State.RUNNING)
        with self._claiming:
            job = self._take(waiting, taken, head_start_s)
            if job is not None:
                self._held.add(job.id)
        return job

    def _take(self, waiting: State, taken: State, head_start_s: float) -> Job | None:
        held = ", ".join(map(str, self._held))
        with self.transaction() as execute:
            row = execute(
                f"SELECT {_JOB_COLUMNS} FROM jobs WHERE state IN (?, ?) AND not_before <= ?"  # noqa: S608
                f" AND study NOT IN (SELECT study FROM jobs WHERE id IN ({held}))"
                " ORDER BY arrived + priority * ?, id LIMIT 1",
                (waiting, taken, self.now(), head_start_s),
            ).fetchone()
            if row is None:
                return None
            execute(
                "UPDATE jobs SET state = ?, active = 1, attempts = attempts + 1 WHERE id = ?",
                (taken, row["id"]),
            )
        return Job(row["id"], row["study"], row["pseudonym"], taken, row["attempts"] + 1, row["arrived"])

    def let_go(self, job: Job) -> None:
        """End this thread's hold on a job, which it has given back or failed to."""
        self._held.discard(job.id)

    def give_back(
        self, job: Job, state: State, reason: str = "", pause_s: float = 0, *, counted: bool = True
    ) -> None:
        """End the work on a job, for now or for good.

        Args:
            job: active.
            state: its new state; ``queued`` and ``sending`` are taken up again.
            reason: code.
            pause_s: until then it is left alone.
            counted: false if the attempt shall not count.
        """
        ended = None if state in (State.QUEUED, State.SENDING) else time.time()
        self.rows(
            "UPDATE jobs SET state = ?, reason = ?, active = 0, not_before = ?, ended = ?,"
            " attempts = attempts - ? WHERE id = ?",
            (state, reason, self.now() + pause_s, ended, 0 if counted else 1, job.id),
        )

    def note_content(self, job: Job, content: str) -> bool:
        """Remember what a job analyses; return false if its study was analysed with the same content."""
        with self.transaction() as execute:
            execute("UPDATE jobs SET content = ? WHERE id = ?", (content, job.id))
            earlier = execute(
                "SELECT 1 FROM jobs WHERE study = ? AND content = ? AND id <> ? AND state IN (?, ?)",
                (job.study, content, job.id, State.SENDING, State.DONE),
            ).fetchone()
        return earlier is None

    def again(self, pseudonym: str) -> int:
        """Queue a study once more, whatever became of it, or all dead letters.

        Args:
            pseudonym: of the study; ``all`` for all dead letters.

        Returns:
            The number of studies.
        """
        which, values = (
            ("pseudonym = ?", (pseudonym,)) if pseudonym != "all" else ("state = ?", (State.FAILED,))
        )
        latest = f"SELECT max(id) FROM jobs WHERE {which} GROUP BY study"  # noqa: S608
        with self.transaction() as execute:
            found = execute(
                "UPDATE jobs SET state = ?, reason = '', attempts = 0, not_before = 0, ended = NULL"  # noqa: S608
                f" WHERE NOT active AND id IN ({latest}) RETURNING study",
                (State.QUEUED, *values),
            ).fetchall()
            for row in found:
                execute("UPDATE jobs SET content = '' WHERE study = ?", (row["study"],))
        return len(found)

    def studies_called(self, pseudonym: str) -> list[str]:
        """Return the studies that a pseudonym stands for: one, or none where it is not known."""
        return self.column("SELECT DISTINCT study FROM jobs WHERE pseudonym = ?", pseudonym)

    def n_versions(self, study: str) -> int:
        """Return how many versions of a study are known, without those of an earlier, deleted one."""
        which = "SELECT count(*) FROM jobs WHERE study = ? AND version NOT LIKE 'deleted %'"
        return int(self.column(which, study)[0])

    def open_ids(self) -> set[str]:
        """Return the numbers of the jobs that are not at an end."""
        return set(map(str, self.column("SELECT id FROM jobs WHERE ended IS NULL")))

    def counts(self) -> dict[State, int]:
        """Return the number of jobs in every state."""
        rows = self.rows("SELECT state, count(*) AS n FROM jobs GROUP BY state")
        return dict.fromkeys(State, 0) | {State(row["state"]): row["n"] for row in rows}

    def latest(self, states: Sequence[State], limit: int) -> list[sqlite3.Row]:
        """Return jobs in some states, the latest end first."""
        marks = ", ".join("?" * len(states))
        return self.rows(
            "SELECT pseudonym, study, state, reason, attempts, priority, arrived, ended FROM jobs"  # noqa: S608
            f" WHERE state IN ({marks}) ORDER BY coalesce(ended, arrived) DESC LIMIT ?",
            (*states, limit),
        )


def add_job(execute: Execute, arrival: Arrival) -> None:
    """Make a job of a version that is new; one of an older version that waits is no longer needed."""
    now = time.time()
    state, reason, ended = (State.QUEUED, "", None) if arrival.version else (State.INELIGIBLE, "NOT_CT", now)
    added = execute(
        "INSERT OR IGNORE INTO jobs (study, pseudonym, version, state, priority, reason, arrived, ended)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (arrival.study, arrival.pseudonym, arrival.version, state, arrival.priority, reason, now, ended),
    )
    if added.rowcount:
        execute(
            "UPDATE jobs SET state = ?, ended = ? WHERE study = ? AND id < ? AND state = ? AND NOT active",
            (State.SUPERSEDED, now, arrival.study, added.lastrowid, State.QUEUED),
        )
