"""How a study is analysed: the section ``runner`` of a service's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import PositiveFloat, PositiveInt, model_validator

from lungct_services.settings import Section


class RunnerSettings(Section):
    """How a study is analysed.

    Attributes:
        kind: ``in_process``: a worker process that stays warm; ``command``: the program in ``argv``.
        argv: a program and its arguments; ``{input}``, ``{output}`` and ``{name}`` are filled in. No shell.
        workers: studies that are analysed at the same time.
        timeout_s: a longer run is ended and counts as failed.
        memory_gib: a process that asks for more runs out of memory.
        studies_per_worker: a worker process is renewed after so many studies, against leaks.
        models: folder of the weights; those that come with the package where None.
        settings: an ``app.yaml`` of the analysis; defaults where None.
    """

    kind: Literal["in_process", "command"] = "in_process"
    argv: tuple[str, ...] = ()
    workers: PositiveInt = 1
    timeout_s: PositiveFloat = 1800.0
    memory_gib: PositiveFloat = 16.0
    studies_per_worker: PositiveInt = 50
    models: Path | None = None
    settings: Path | None = None

    @model_validator(mode="after")
    def _check_command(self) -> Self:
        if self.kind == "command":
            arguments = " ".join(self.argv)
            if missing := [name for name in ("{input}", "{output}") if name not in arguments]:
                raise ValueError(f"argv must hold {' and '.join(missing)}")
        return self
