"""Durable memory: what of the change feed was read, and what became of every study and version."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lungct.errors import SettingsError
from lungct_services.gateway.records import Arrival, Job, State

DATABASE = "gateway.sqlite"
Execute = Callable[..., sqlite3.Cursor]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS feed (id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS watched (study TEXT PRIMARY KEY, since REAL NOT NULL);
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
CREATE TABLE IF NOT EXISTS results (
    uid TEXT PRIMARY KEY, job INTEGER NOT NULL REFERENCES jobs, superseded INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS deliveries (
    job INTEGER NOT NULL REFERENCES jobs, destination TEXT NOT NULL, PRIMARY KEY (job, destination)
);
"""


_JOB_COLUMNS = "id, study, pseudonym, state, attempts, arrived"


class Jobs:
    """The database; every method is one transaction and may be called from any thread."""

    def __init__(self, state_dir: Path) -> None:
        """Open or make the database.

        Raises:
            SettingsError: it cannot be written.
        """
        self._mutex = threading.Lock()
        self._lock_file = -1
        self._state_dir = state_dir
        try:
            state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = sqlite3.connect(
                state_dir / DATABASE, check_same_thread=False, isolation_level=None
            )
            self._connection.row_factory = sqlite3.Row
            self._connection.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; {_SCHEMA}")
        except (OSError, sqlite3.Error) as error:
            raise SettingsError(
                f"state_dir cannot be used ({error}): check path and access rights"
            ) from error

    def take_over(self) -> None:
        """Become the service that works on these jobs; what a killed one left is taken up.

        Raises:
            SettingsError: another one runs.
        """
        self._lock_file = os.open(self._state_dir / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError("another gateway runs on the same state_dir: give each its own") from None
        with self._transaction() as execute:
            execute("UPDATE jobs SET active = 0")
            execute("UPDATE jobs SET state = ? WHERE state = ?", (State.QUEUED, State.RUNNING))

    def close(self) -> None:
        """Release the database and the folder."""
        self._connection.close()
        if self._lock_file >= 0:
            os.close(self._lock_file)

    def sequence(self) -> int | None:
        """Last change that was dealt with; None at the very first start."""
        rows = self._rows("SELECT sequence FROM feed")
        return int(rows[0]["sequence"]) if rows else None

    def advance(self, sequence: int, arrivals: Sequence[Arrival] = (), begun: Sequence[str] = ()) -> None:
        """Note that the feed was read so far, together with what it brought.

        Args:
            sequence: of the last change.
            arrivals: studies that are complete.
            begun: studies that images have come for since.
        """
        with self._transaction() as execute:
            execute("INSERT OR REPLACE INTO feed VALUES (1, ?)", (sequence,))
            for arrival in arrivals:
                execute("DELETE FROM watched WHERE study = ?", (arrival.study,))
                _add(execute, arrival)
            for study in begun:
                execute("INSERT OR REPLACE INTO watched VALUES (?, ?)", (study, time.time()))

    def watched(self, before: float) -> list[str]:
        """Studies whose images began to come before a time, and that were never reported complete."""
        return [row["study"] for row in self._rows("SELECT study FROM watched WHERE since < ?", (before,))]

    def forget(self, study: str) -> None:
        """Watch a study no longer."""
        with self._transaction() as execute:
            execute("DELETE FROM watched WHERE study = ?", (study,))

    def claim(self) -> Job | None:
        """The next job that is due: what is half sent first, then by priority and arrival.

        It is active until it is given back. Two versions of a study are never active at the same time.
        """
        with self._transaction() as execute:
            row = execute(
                f"SELECT {_JOB_COLUMNS} FROM jobs WHERE state IN (?, ?) AND not_before <= ?"  # noqa: S608
                " AND study NOT IN (SELECT study FROM jobs WHERE active)"
                " ORDER BY state = ? DESC, priority, id LIMIT 1",
                (State.QUEUED, State.SENDING, time.time(), State.SENDING),
            ).fetchone()
            if row is None:
                return None
            state = State.SENDING if row["state"] == State.SENDING else State.RUNNING
            execute(
                "UPDATE jobs SET state = ?, active = 1, attempts = attempts + 1 WHERE id = ?",
                (state, row["id"]),
            )
        return _job(row, state)

    def begin_sending(self, job: Job, uids: Sequence[str]) -> Job:
        """The results are on disk: remember what they are, and that those of other versions are outdated."""
        with self._transaction() as execute:
            others = "SELECT id FROM jobs WHERE study = ?"
            execute(f"UPDATE results SET superseded = 1 WHERE job IN ({others})", (job.study,))  # noqa: S608
            execute(
                "UPDATE jobs SET state = ?, ended = ? WHERE study = ? AND state = ? AND id <> ?",
                (State.SUPERSEDED, time.time(), job.study, State.SENDING, job.id),
            )
            for uid in uids:
                execute("INSERT OR REPLACE INTO results (uid, job) VALUES (?, ?)", (uid, job.id))
            execute("DELETE FROM deliveries WHERE job = ?", (job.id,))
            execute("UPDATE jobs SET state = ?, attempts = 1 WHERE id = ?", (State.SENDING, job.id))
        return replace(job, state=State.SENDING, attempts=1)

    def outdated_results(self, job: Job) -> list[str]:
        """UIDs of objects of the study that newer ones have replaced and that were not removed yet."""
        rows = self._rows(
            "SELECT uid FROM results JOIN jobs ON job = jobs.id WHERE study = ? AND superseded", (job.study,)
        )
        return [row["uid"] for row in rows]

    def removed(self, uid: str) -> None:
        """An outdated object is gone."""
        with self._transaction() as execute:
            execute("DELETE FROM results WHERE uid = ?", (uid,))

    def deliveries(self, job: Job) -> set[str]:
        """Destinations that have the results of a job."""
        rows = self._rows("SELECT destination FROM deliveries WHERE job = ?", (job.id,))
        return {row["destination"] for row in rows}

    def delivered(self, job: Job, destination: str) -> None:
        """A destination has them."""
        with self._transaction() as execute:
            execute("INSERT OR IGNORE INTO deliveries VALUES (?, ?)", (job.id, destination))

    def note_content(self, job: Job, content: str) -> bool:
        """Remember what a job analyses; false where the study was analysed with the same content already."""
        with self._transaction() as execute:
            execute("UPDATE jobs SET content = ? WHERE id = ?", (content, job.id))
            earlier = execute(
                "SELECT 1 FROM jobs WHERE study = ? AND content = ? AND id <> ? AND state IN (?, ?)",
                (job.study, content, job.id, State.SENDING, State.DONE),
            ).fetchone()
        return earlier is None

    def n_versions(self, study: str) -> int:
        """How many versions of a study are known."""
        return int(self._rows("SELECT count(*) AS n FROM jobs WHERE study = ?", (study,))[0]["n"])

    def give_back(
        self, job: Job, state: State, reason: str = "", pause_s: float = 0, *, counted: bool = True
    ) -> None:
        """A job is no longer worked on.

        Args:
            job: active.
            state: its new state; ``queued`` and ``sending`` are taken up again.
            reason: code.
            pause_s: until then it is left alone.
            counted: false where the attempt shall not count.
        """
        ended = None if state in (State.QUEUED, State.SENDING) else time.time()
        with self._transaction() as execute:
            execute(
                "UPDATE jobs SET state = ?, reason = ?, active = 0, not_before = ?, ended = ?,"
                " attempts = attempts - ? WHERE id = ?",
                (state, reason, time.time() + pause_s, ended, 0 if counted else 1, job.id),
            )

    def again(self, pseudonym: str) -> int:
        """Analyse a study once more, whatever became of it (``all``: all dead letters); returns how many."""
        which, values = (
            ("pseudonym = ?", (pseudonym,)) if pseudonym != "all" else ("state = ?", (State.FAILED,))
        )
        latest = f"SELECT max(id) FROM jobs WHERE {which} GROUP BY study"  # noqa: S608
        with self._transaction() as execute:
            found = execute(
                "UPDATE jobs SET state = ?, reason = '', attempts = 0, not_before = 0, ended = NULL"  # noqa: S608
                f" WHERE NOT active AND id IN ({latest}) RETURNING study",
                (State.QUEUED, *values),
            ).fetchall()
            for row in found:
                execute("UPDATE jobs SET content = '' WHERE study = ?", (row["study"],))
        return len(found)

    def open_ids(self) -> set[str]:
        """Numbers of the jobs that are not at an end."""
        rows = self._rows("SELECT id FROM jobs WHERE ended IS NULL")
        return {str(row["id"]) for row in rows}

    def counts(self) -> dict[State, int]:
        """Number of jobs in every state."""
        rows = self._rows("SELECT state, count(*) AS n FROM jobs GROUP BY state")
        return dict.fromkeys(State, 0) | {State(row["state"]): row["n"] for row in rows}

    def latest(self, states: Sequence[State], limit: int) -> list[sqlite3.Row]:
        """Jobs of some states, the latest end first."""
        marks = ", ".join("?" * len(states))
        return self._rows(
            "SELECT pseudonym, study, state, reason, attempts, priority, arrived, ended FROM jobs"  # noqa: S608
            f" WHERE state IN ({marks}) ORDER BY coalesce(ended, arrived) DESC LIMIT ?",
            (*states, limit),
        )

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        with self._mutex:
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[Execute]:
        with self._mutex:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


def _add(execute: Execute, arrival: Arrival) -> None:
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


def _job(row: sqlite3.Row, state: State) -> Job:
    return Job(row["id"], row["study"], row["pseudonym"], state, row["attempts"] + 1, row["arrived"])
