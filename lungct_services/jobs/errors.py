"""Reasons why a step of a job did not succeed, and what follows.

::

    StepError
    ├── Unreachable      the other side does not answer: the job waits, no attempt is counted
    ├── TransientError   tried again until the attempts are used up
    └── FinalError       the same would happen again: the job ends

A message is a code for machines and holds nothing of a patient.
"""

from __future__ import annotations

from lungct_services.jobs.queue import State


class StepError(Exception):
    """Base of all.

    Attributes:
        code: stable, in capitals, kept as the reason.
    """

    def __init__(self, code: str) -> None:
        """Keep the code."""
        super().__init__(code)
        self.code = code


class Unreachable(StepError):  # noqa: N818 - a state of the other side
    """The other side does not answer.

    Attributes:
        wait_s: seconds for which the other side asks to be left alone.
    """

    def __init__(self, code: str, wait_s: float = 0.0) -> None:
        """Keep code and wait."""
        super().__init__(code)
        self.wait_s = wait_s


class TransientError(StepError):
    """May succeed another time."""


class FinalError(StepError):
    """Will not succeed another time.

    Attributes:
        state: end of the job, a dead letter where none is named.
    """

    def __init__(self, code: str, state: State = State.FAILED) -> None:
        """Keep code and end."""
        super().__init__(code)
        self.state = state
