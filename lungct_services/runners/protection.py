"""Protects the secrets of a service from its workers, and the memory of the machine (Linux)."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import sys
from contextlib import suppress

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
"""Numbers of ``prctl`` in <linux/prctl.h>."""
_GIB = 1 << 30
_SECRET = re.compile("PASSWORD|SECRET|TOKEN|CREDENTIAL", re.IGNORECASE)


def hide_memory() -> None:
    """Keep processes of the same user from reading the memory and the environment of this one."""
    _prctl(_PR_SET_DUMPABLE, 0)


def end_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends, whatever this process does."""
    parent = os.getppid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the service ended while this worker started")


def limit_memory(process: int, gib: float) -> None:
    """Limit what a process, and each that it starts from now on, may ask for beyond program and files."""
    n_bytes = int(gib * _GIB)
    with suppress(ProcessLookupError):  # it has ended already
        resource.prlimit(process, resource.RLIMIT_DATA, (n_bytes, n_bytes))


def harmless_environment() -> dict[str, str]:
    """Return the environment of this process without the variables that are named after a secret."""
    return {name: value for name, value in os.environ.items() if not _SECRET.search(name)}


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
