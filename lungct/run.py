"""One run: an output folder that holds all files or none, and ``result.json`` whatever happens."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lungct.errors import LungCtError, OutputError, hide_text
from lungct.file_names import DELIVERED_FILES, RESULT_FILE
from lungct.journal import Journal
from lungct.report.result import Result, build_result

logger = logging.getLogger("lungct")

_STAGING_PREFIX = ".lungct-"
_RESULT_KEYS = {"schema_version", "application_version", "status"}


def run_into(out: Path, journal: Journal, write_files: Callable[[Path], None]) -> Result:
    """Run an analysis and write ``result.json``, with its findings or with the reason why there are none.

    Args:
        out: output folder; made where missing.
        journal: filled by the analysis; it is complete once it holds findings.
        write_files: analyses, and writes every other file into the folder that it is given.

    Returns:
        The content of ``result.json``.

    Raises:
        OutputError: the output folder cannot be written, so there is no ``result.json`` either.
    """
    with OutputFolder(out, DELIVERED_FILES) as folder:
        try:
            write_files(folder.staging)
            if journal.findings is None:
                raise LungCtError(
                    "the analysis stopped before its last stage; please report it", "INCOMPLETE"
                )
            result = build_result(journal, None, folder.publish())
            folder.write_result(result.model_dump_json(indent=2))
        except Exception as raised:
            error = hide_text(raised)
            logger.error("%s", error)
            folder.discard()
            result = build_result(journal, error, [])
            folder.write_result(result.model_dump_json(indent=2))
        return result


class OutputFolder:
    """Collects files in a hidden sub-folder and publishes them together.

    Use as a context manager: it locks the folder against a second run, and leaving it before
    ``result.json`` is written removes every file of this run. Entering removes the files of an earlier
    run, so that a failed run leaves nothing that looks like its result, and nobody else's files.
    """

    def __init__(self, path: Path, own_files: tuple[str, ...]) -> None:
        """Remember the folder; entering the context prepares it.

        Args:
            path: output folder; made where missing.
            own_files: relative paths of all files that an analysis may write beside ``result.json``.
        """
        self.path = path
        self.own_files = own_files
        self.staging = path
        self._lock = -1
        self._published: list[str] = []
        self._made: list[Path] = []

    def __enter__(self) -> OutputFolder:
        """Lock the folder and check that it can be written.

        Raises:
            OutputError: it cannot, another run is writing to it, or it holds files of others whose names
                this application would use.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path, os.O_RDONLY)
            self._lock_out_others()
            self._remove_earlier_run()
            self.staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=self.path))
        except OSError as error:
            self._unlock()
            raise cannot_write(error) from error
        except OutputError:
            self._unlock()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what was not published, and what was published without a result."""
        self.discard()
        shutil.rmtree(self.staging, ignore_errors=True)
        self._unlock()

    def publish(self) -> list[str]:
        """Move the collected files to the output folder and return their paths below it.

        Raises:
            OutputError: a file cannot be moved; none is left behind.
        """
        try:
            for file in sorted(path for path in self.staging.rglob("*") if path.is_file()):
                name = file.relative_to(self.staging).as_posix()
                self._make_folder((self.path / name).parent)
                file.replace(self.path / name)
                self._published.append(name)
        except OSError as error:
            self.discard()
            raise cannot_write(error) from error
        return list(self._published)

    def discard(self) -> None:
        """Remove all files of this run, published or not: after a failure only a result may remain."""
        while self._published:
            (self.path / self._published.pop()).unlink(missing_ok=True)
        while self._made:
            with suppress(OSError):  # holds something of others by now
                self._made.pop().rmdir()
        for entry in self.staging.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def _make_folder(self, folder: Path) -> None:
        if not folder.exists():
            folder.mkdir()
            self._made.append(folder)

    def write_result(self, text: str) -> None:
        """Write ``result.json`` in one step; it makes the published files final.

        Raises:
            OutputError: it cannot be written; the published files are taken back.
        """
        try:
            partial = self.staging / RESULT_FILE
            partial.write_text(text, encoding="utf-8")
            partial.replace(self.path / RESULT_FILE)
        except OSError as error:
            self.discard()
            raise cannot_write(error) from error
        self._published.clear()
        self._made.clear()

    def _lock_out_others(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                "another run is writing to the output folder: choose another one", "OUTPUT_IN_USE"
            ) from None
        except OSError:  # some network file systems know no locks: better unlocked than no analysis
            return

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _remove_earlier_run(self) -> None:
        """Remove what an earlier run wrote: its result names it, or a staging folder tells of its end."""
        abandoned = list(self.path.glob(f"{_STAGING_PREFIX}*"))
        earlier = _files_of_result(self.path / RESULT_FILE)
        ours = set(self.own_files if earlier is None and abandoned else earlier or ())
        there = {name for name in (RESULT_FILE, *self.own_files) if (self.path / name).exists()}
        if foreign := sorted(there - ours):
            raise OutputError(
                f"the output folder holds a {foreign[0]} of another origin: choose another folder",
                "OUTPUT_HOLDS_OTHER_FILES",
            )
        for name in there:
            (self.path / name).unlink()
        for folder in {(self.path / name).parent for name in there} - {self.path}:
            with suppress(OSError):  # holds something of others
                folder.rmdir()
        for folder in abandoned:
            shutil.rmtree(folder)


def cannot_write(error: OSError) -> OutputError:
    """Return the error that says what to do about a failed write."""
    why = error.strerror or type(error).__name__
    return OutputError(f"cannot write to the output folder ({why}): choose a writable folder with free space")


def _files_of_result(path: Path) -> list[str] | None:
    """Return ``result.json`` and the files that it names; None where it is missing or of another origin."""
    try:
        result = json.loads(path.read_bytes())
        return [RESULT_FILE, *result["outputs"]] if result.keys() >= _RESULT_KEYS else None
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return None
