"""What services and their queue hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a job is; the last four are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    SENDING = "sending"
    DONE = "done"
    INELIGIBLE = "ineligible"
    SUPERSEDED = "superseded"
    FAILED = "failed"


@dataclass(frozen=True)
class Arrival:
    """A study that is complete and may be analysed.

    Attributes:
        version: digest of its CT instances; empty where it has none.
        priority: 0 comes first.
    """

    study: str
    pseudonym: str
    version: str
    priority: int


@dataclass(frozen=True)
class Job:
    """One version of one study; ``attempts`` counts the present one."""

    id: int
    study: str
    pseudonym: str
    state: State
    attempts: int
    arrived: float
