"""A process with the rights of a container: no network, no capabilities, user 1000, only the named files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

UID = "1000"
SYSTEM = ("/usr", "/bin", "/lib", "/lib64")
"""Without the cache of the loader, a CUDA that is installed on this machine is not found."""

SLEEPING_THREADS = {"OMP_WAIT_POLICY": "passive"}
"""Threads that spin while they wait would take the time of the tests that run beside."""


def obstacles() -> list[str]:
    """What the sandbox needs and this machine lacks."""
    missing = [f"the program {tool}" for tool in ("bwrap", "jq") if not shutil.which(tool)]
    if not missing:
        empty = run(["true"], readable={}, writable={}, environment={"PATH": "/usr/bin:/bin"}, folder="/")
        missing += [f"namespaces ({empty.stderr.strip()})"] if empty.returncode else []
    return missing


def run(
    command: Sequence[object],
    *,
    readable: Mapping[Path, str],
    writable: Mapping[Path, str],
    environment: Mapping[str, str],
    folder: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a file system that is read-only but for ``writable`` and ``/tmp``.

    Args:
        command: program and arguments.
        readable: files and folders of this machine, and where they are seen inside.
        writable: the same for those that can be written.
        environment: all variables of the process.
        folder: where it starts.
    """
    python = {Path(prefix): prefix for prefix in (sys.prefix, sys.base_prefix)}
    binds = [
        *(("--ro-bind", path, path) for path in SYSTEM if Path(path).exists()),
        *(("--ro-bind", *bind) for bind in (python | dict(readable)).items()),
        *(("--bind", *bind) for bind in writable.items()),
        *(("--setenv", *variable) for variable in (SLEEPING_THREADS | dict(environment)).items()),
    ]
    options = [
        "--unshare-all",
        "--uid",
        UID,
        "--gid",
        UID,
        "--cap-drop",
        "ALL",
        "--die-with-parent",
        "--clearenv",
    ]
    mounts = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108
    words = [
        *options,
        *mounts,
        *(word for bind in binds for word in bind),
        "--remount-ro",
        "/",
        "--chdir",
        folder,
    ]
    return subprocess.run(  # noqa: S603
        ["bwrap", *map(str, words), "--", *map(str, command)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
