"""A SQLite file that threads share and one service at a time owns."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lungct.errors import SettingsError

Execute = Callable[..., sqlite3.Cursor]


class Database:
    """A SQLite file in WAL mode; its methods may be called from any thread."""

    def __init__(self, path: Path, schema: str) -> None:
        """Open the database, or make it.

        Args:
            path: file of the database; its folder is made where missing, for its owner alone.
            schema: statements that make what is missing.

        Raises:
            SettingsError: the database cannot be written.
        """
        self._mutex = threading.Lock()
        self._lock_file = -1
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._connection.row_factory = sqlite3.Row
            self._connection.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; {schema}")
        except (OSError, sqlite3.Error) as error:
            message = f"state_dir cannot be used ({error}): check path and access rights"
            raise SettingsError(message) from error

    def lock(self) -> None:
        """Become the only service on this database, until it is closed.

        Raises:
            SettingsError: another service runs on it.
        """
        self._lock_file = os.open(self._path.with_name("lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError("another service runs on the same state_dir: give each its own") from None

    def close(self) -> None:
        """Release the file and the lock."""
        self._connection.close()
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def copy_to(self, path: Path) -> None:
        """Write a copy that is consistent, even while a service works; for its owner alone."""
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with self._mutex, closing(sqlite3.connect(path)) as copy:
            self._connection.backup(copy)

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Run one statement by itself; return the rows that it finds."""
        with self._mutex:
            return self._connection.execute(sql, values).fetchall()

    def column(self, sql: str, *values: object) -> list[Any]:
        """Run one statement by itself; return the first column that it finds."""
        return [row[0] for row in self.rows(sql, values)]

    @contextmanager
    def transaction(self) -> Iterator[Execute]:
        """Run statements all together or, where one fails, not at all."""
        with self._mutex:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk ends it by itself
                    self._connection.execute("ROLLBACK")
                raise
