"""Studies in a ``.zip`` file, unpacked with limits into a folder that only this user can read."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from lungct.errors import InputError

MAX_FILES = 20_000
"""Most files of an archive: several times those of the largest chest CT study that we know. Own decision."""

MAX_BYTES = 16 * 1024**3
"""Most bytes of all files: 20,000 uncompressed slices of 512 x 512 take 10 GiB. Own decision."""


@contextmanager
def unpack(study: Path) -> Iterator[Path]:
    """Yield the folder or file to analyse; an archive is unpacked for as long as the context lasts.

    Raises:
        InputError: the archive is damaged, encrypted or too large, does not fit onto the disk, or names files
            outside its own folder.
    """
    if not (study.is_file() and zipfile.is_zipfile(study)):
        yield study
        return
    with tempfile.TemporaryDirectory(prefix="lungct-") as folder:
        _unpack(study, Path(folder))
        yield Path(folder)


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as file:
            members = [member for member in file.infolist() if not member.is_dir()]
            _check(archive, folder, members)
            file.extractall(folder, members)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        name = type(error).__name__
        raise InputError(
            f"{archive.name} cannot be unpacked ({name}): pack it again as a plain .zip", "BAD_ARCHIVE"
        ) from error


def _check(archive: Path, folder: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive before anything of it is written; reading stops at the sizes that it declares."""
    n_bytes = sum(member.file_size for member in members)
    gib = f"{n_bytes / 1024**3:.1f} GiB"
    if len(members) > MAX_FILES or n_bytes > MAX_BYTES:
        raise InputError(
            f"{archive.name} holds {len(members)} files with {gib}; at most {MAX_FILES} files with "
            f"{MAX_BYTES / 1024**3:.0f} GiB are unpacked: unpack it and name the folder",
            "ARCHIVE_TOO_LARGE",
        )
    if n_bytes > shutil.disk_usage(folder).free:
        raise InputError(
            f"{archive.name} needs {gib} to be unpacked: set TMPDIR to a larger disk", "ARCHIVE_TOO_LARGE"
        )
    if any(member.flag_bits & 1 for member in members):
        raise InputError(f"{archive.name} is encrypted: unpack it and name the folder", "ARCHIVE_ENCRYPTED")
    for member in members:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts:
            raise InputError(
                f"{archive.name} names files outside its own folder: do not trust it", "UNSAFE_ARCHIVE"
            )
