"""The output folder: written all at once or not at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from lungct.errors import OutputError

RESULT_FILE = "result.json"
_STAGING_PREFIX = ".lungct-"


class OutputFolder:
    """Collects files in a hidden sub-folder and publishes them together.

    Use as a context manager: leaving it removes whatever was not published. Entering removes
    the files of an earlier run, so that a failed run leaves nothing that looks like its result.
    """

    def __init__(self, path: Path, own_files: tuple[str, ...]) -> None:
        """Prepare nothing yet.

        Args:
            path: output folder; made where missing.
            own_files: names of all files that an analysis may write beside ``result.json``.
        """
        self.path = path
        self.own_files = own_files
        self.staging = path
        self._published: list[str] = []

    def __enter__(self) -> OutputFolder:
        """Check that the folder can be written.

        Raises:
            OutputError: it cannot.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for name in (RESULT_FILE, *self.own_files):
                (self.path / name).unlink(missing_ok=True)
            self.staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=self.path))
        except OSError as error:
            raise cannot_write(error) from error
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove what was not published."""
        shutil.rmtree(self.staging, ignore_errors=True)

    def publish(self) -> list[str]:
        """Move the collected files to the output folder and return their names.

        Raises:
            OutputError: a file cannot be moved; none is left behind.
        """
        try:
            for file in sorted(self.staging.iterdir()):
                file.replace(self.path / file.name)
                self._published.append(file.name)
        except OSError as error:
            self._take_back()
            raise cannot_write(error) from error
        return list(self._published)

    def write_result(self, text: str) -> None:
        """Write ``result.json`` in one step.

        Raises:
            OutputError: it cannot be written; the published files are taken back.
        """
        try:
            partial = self.staging / RESULT_FILE
            partial.write_text(text, encoding="utf-8")
            partial.replace(self.path / RESULT_FILE)
        except OSError as error:
            self._take_back()
            raise cannot_write(error) from error

    def _take_back(self) -> None:
        while self._published:
            (self.path / self._published.pop()).unlink()


def cannot_write(error: OSError) -> OutputError:
    """The error that says what to do about a failed write."""
    return OutputError(
        f"cannot write to the output folder ({error.strerror}): choose a writable folder with free space"
    )
