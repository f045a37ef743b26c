"""The jobs of the gateway, what was read of the change feed, and where results are."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from lungct_services.gateway.entries import Change, Page
from lungct_services.jobs.database import Execute
from lungct_services.jobs.queue import Arrival, Job, Jobs, State, add_job

DATABASE = "gateway.sqlite"
NOT_SEEN_BEFORE = 0.0
"""Time since which studies of another database are watched, so that they come first."""
_KINDS_OF_STUDIES = ("NewStudy", "StableStudy")
_N_SEEN = 10
"""Changes by which a database is known; own decision: Orthanc drops those of deleted studies."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS feed (id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS watched (study TEXT PRIMARY KEY, since REAL NOT NULL);
CREATE TABLE IF NOT EXISTS seen (
    sequence INTEGER PRIMARY KEY, kind TEXT NOT NULL, resource TEXT NOT NULL, date TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS results (
    uid TEXT PRIMARY KEY, job INTEGER NOT NULL REFERENCES jobs, superseded INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS transfers (
    job INTEGER NOT NULL REFERENCES jobs,
    destination TEXT NOT NULL,
    transfer TEXT NOT NULL,
    begun REAL NOT NULL,
    PRIMARY KEY (job, destination)
);
CREATE TABLE IF NOT EXISTS deliveries (
    job INTEGER NOT NULL REFERENCES jobs, destination TEXT NOT NULL, PRIMARY KEY (job, destination)
);
"""
_RESULTS_OF_STUDY = "SELECT uid FROM results JOIN jobs ON job = jobs.id WHERE study = ?"


class GatewayJobs(Jobs):
    """The durable memory of a gateway; every method is one transaction."""

    def __init__(self, state_dir: Path) -> None:
        """Open the database in the state folder, or make it.

        Raises:
            SettingsError: the database cannot be written.
        """
        super().__init__(state_dir / DATABASE, _SCHEMA)

    def take_over(self) -> None:
        """Become the service that works on these jobs, and look again at every study that is watched.

        Raises:
            SettingsError: another service runs.
        """
        super().take_over()
        self.rows("UPDATE watched SET since = min(since, ?)", (self.now(),))

    def prune(self, before: float) -> int:
        """Forget jobs that ended before a time, with what is known of their results; return how many."""
        old = "SELECT id FROM jobs WHERE ended < ?"
        with self.transaction() as execute:
            for table in ("results", "deliveries", "transfers"):
                execute(f"DELETE FROM {table} WHERE job IN ({old})", (before,))  # noqa: S608
            return execute("DELETE FROM jobs WHERE ended < ?", (before,)).rowcount

    def sequence(self) -> int | None:
        """Return the last change that was dealt with; None at the very first start."""
        return next(iter(self.column("SELECT sequence FROM feed")), None)

    def advance(
        self,
        page: Page,
        arrivals: Iterable[Arrival] = (),
        begun: Iterable[str] = (),
        anew: Iterable[str] = (),
    ) -> None:
        """Note that a page of the feed was read, together with what it brought.

        Args:
            page: its study-level changes are remembered, to tell this database of Orthanc from another.
            arrivals: studies that are complete.
            begun: studies that images have come for since.
            anew: studies that Orthanc did not have before; what was analysed of them earlier was deleted.
        """
        telling = [change for change in page.changes if change.kind in _KINDS_OF_STUDIES] or page.changes[-1:]
        with self.transaction() as execute:
            execute("INSERT OR REPLACE INTO feed VALUES (1, ?)", (page.last,))
            for change in telling[-_N_SEEN:]:
                execute(
                    "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)",
                    (change.sequence, change.kind, change.resource, change.date),
                )
            newest = "SELECT sequence FROM seen ORDER BY sequence DESC LIMIT ?"
            execute(f"DELETE FROM seen WHERE sequence NOT IN ({newest})", (_N_SEEN,))  # noqa: S608
            for study in anew:
                _forget_analyses(execute, study)
            for arrival in arrivals:
                _arrive(execute, arrival)
            for study in begun:
                execute("INSERT OR REPLACE INTO watched VALUES (?, ?)", (study, self.now()))

    def start_anew(self, page: Page, studies: Iterable[str]) -> None:
        """Follow another database of Orthanc: from its newest change, after a look at each of its studies."""
        with self.transaction() as execute:
            execute("DELETE FROM seen")
            execute("DELETE FROM watched")
            execute("INSERT OR REPLACE INTO feed VALUES (1, ?)", (page.last,))
            for study in studies:
                execute("INSERT OR REPLACE INTO watched VALUES (?, ?)", (study, NOT_SEEN_BEFORE))
        self.advance(page)

    def seen(self) -> list[Change]:
        """Return some changes that were read, the newest first."""
        rows = self.rows("SELECT sequence, kind, resource, date FROM seen ORDER BY sequence DESC")
        return [Change(*row) for row in rows]

    def watched(self, before: float, limit: int = -1) -> list[tuple[str, float]]:
        """Return studies whose images began to come before a time, and since when they are watched."""
        which = "SELECT study, since FROM watched WHERE since < ? ORDER BY since LIMIT ?"
        return [(study, since) for study, since in self.rows(which, (before, limit))]

    def arrive(self, arrival: Arrival, *, is_anew: bool) -> None:
        """Take a study that was watched as complete.

        Args:
            arrival: the study.
            is_anew: whether what was analysed of it earlier is lost.
        """
        with self.transaction() as execute:
            if is_anew:
                _forget_analyses(execute, arrival.study)
            _arrive(execute, arrival)

    def watch_longer(self, study: str) -> None:
        """Look at a study again when others have had their turn."""
        self.rows("UPDATE watched SET since = ? WHERE study = ?", (self.now(), study))

    def forget(self, study: str) -> None:
        """Watch a study no longer."""
        self.rows("DELETE FROM watched WHERE study = ?", (study,))

    def results(self, study: str) -> list[str]:
        """Return the UIDs of the newest results of a study."""
        return self.column(f"{_RESULTS_OF_STUDY} AND NOT superseded", study)

    def begin_sending(self, job: Job, uids: Sequence[str]) -> None:
        """Give a job back to be sent; the results of other versions of its study are outdated now."""
        with self.transaction() as execute:
            others = "SELECT id FROM jobs WHERE study = ?"
            execute(f"UPDATE results SET superseded = 1 WHERE job IN ({others})", (job.study,))  # noqa: S608
            execute(
                "UPDATE jobs SET state = ?, ended = ? WHERE study = ? AND state = ? AND id <> ?",
                (State.SUPERSEDED, time.time(), job.study, State.SENDING, job.id),
            )
            for uid in uids:
                execute("INSERT OR REPLACE INTO results (uid, job) VALUES (?, ?)", (uid, job.id))
            execute("DELETE FROM deliveries WHERE job = ?", (job.id,))
            execute("DELETE FROM transfers WHERE job = ?", (job.id,))
            execute(
                "UPDATE jobs SET state = ?, attempts = 0, active = 0 WHERE id = ?", (State.SENDING, job.id)
            )

    def outdated_results(self, study: str) -> list[str]:
        """Return the UIDs of results of a study that newer ones replace and that are still in Orthanc."""
        return self.column(f"{_RESULTS_OF_STUDY} AND superseded", study)

    def removed(self, uid: str) -> None:
        """Note that an outdated object is gone."""
        self.rows("DELETE FROM results WHERE uid = ?", (uid,))

    def deliveries(self, job: Job) -> set[str]:
        """Return the destinations that have the results of a job."""
        return set(self.column("SELECT destination FROM deliveries WHERE job = ?", job.id))

    def delivered(self, job: Job, destination: str) -> None:
        """Note that a destination has the results of a job."""
        with self.transaction() as execute:
            execute("INSERT OR IGNORE INTO deliveries VALUES (?, ?)", (job.id, destination))
            execute("DELETE FROM transfers WHERE job = ? AND destination = ?", (job.id, destination))

    def transfer(self, job: Job, destination: str) -> tuple[str, float] | None:
        """Return the job of Orthanc that sends results to a destination now, and since when."""
        which = "SELECT transfer, begun FROM transfers WHERE job = ? AND destination = ?"
        return next(
            ((row["transfer"], row["begun"]) for row in self.rows(which, (job.id, destination))), None
        )

    def note_transfer(self, job: Job, destination: str, transfer: str, begun: float) -> None:
        """Remember that Orthanc began to send."""
        values = (job.id, destination, transfer, begun)
        self.rows("INSERT OR REPLACE INTO transfers VALUES (?, ?, ?, ?)", values)

    def drop_transfer(self, job: Job, destination: str) -> None:
        """Forget a transfer that failed."""
        self.rows("DELETE FROM transfers WHERE job = ? AND destination = ?", (job.id, destination))


def _arrive(execute: Execute, arrival: Arrival) -> None:
    execute("DELETE FROM watched WHERE study = ?", (arrival.study,))
    add_job(execute, arrival)


def _forget_analyses(execute: Execute, study: str) -> None:
    """Forget that versions of a study were analysed, since Orthanc has deleted it with its results."""
    ended = "study = ? AND ended IS NOT NULL"
    execute(f"DELETE FROM results WHERE job IN (SELECT id FROM jobs WHERE {ended})", (study,))  # noqa: S608
    execute(f"UPDATE jobs SET version = 'deleted ' || id, content = '' WHERE {ended}", (study,))  # noqa: S608
