"""Settings of the whole process, made by commands before they import anything slow."""

from __future__ import annotations

import os


def prepare_process() -> None:
    """Prepare this process for the analysis; call it once, before the first import of torch.

    Stages run side by side, and threads that spin while they wait would take each other's time: torch reads
    that when it is imported. MONAI and torch ask for the name of the user, and a container may run under a
    number that has none.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("LOGNAME", os.environ.get("USER", "user"))
    from lungct.networks.device import keep_freed_memory

    keep_freed_memory()
