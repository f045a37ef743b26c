"""A worker whose studies are named after what happens to them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from lungct.errors import OutputError
from lungct_services.runners.worker import serve

n_calls = 0


def analyse(study: Path, out: Path) -> None:
    global n_calls  # noqa: PLW0603 - what a worker keeps from one study to the next
    n_calls += 1
    match study.name:
        case "crash":
            os._exit(9)
        case "slow":
            study.with_name("slow.began").touch()
            time.sleep(60)
        case "greedy":
            bytearray(3 << 30)
        case "full":
            raise OutputError("the disk is full", "DISK_FULL")
    print("text that nobody may take for an answer")
    out.mkdir(parents=True)
    (out / "n_calls").write_text(f"{n_calls} {os.getpid()}")


if __name__ == "__main__":
    serve(analyse)
