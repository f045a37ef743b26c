"""Why a step of a job did not succeed, and what follows.

::

    StepError
    ├── Unreachable      the other side does not answer: the job waits, no attempt is counted
    ├── TransientError   tried again until the attempts are used up
    ├── FinalError       the same would happen again: a dead letter at once
    ├── IneligibleError  no series may be analysed: an answer, not a fault
    └── UnchangedError   the same images were analysed before: nothing to do

A message is a code for machines and holds nothing of a patient.
"""

from __future__ import annotations


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
        wait_s: for so long the other side asks to be left alone.
    """

    def __init__(self, code: str, wait_s: float = 0.0) -> None:
        """Keep code and wait."""
        super().__init__(code)
        self.wait_s = wait_s


class TransientError(StepError):
    """May succeed another time."""


class FinalError(StepError):
    """Will not succeed another time."""


class IneligibleError(StepError):
    """No series may be analysed; holds the codes of the reasons, each once."""


class UnchangedError(StepError):
    """The study was analysed with the same images."""
