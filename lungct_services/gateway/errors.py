"""Why a step of a job did not succeed, and what follows.

::

    StepError
    ├── Unreachable      Orthanc does not answer: the job waits, no attempt is counted
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
    """Orthanc does not answer."""


class TransientError(StepError):
    """May succeed another time."""


class FinalError(StepError):
    """Will not succeed another time."""


class IneligibleError(StepError):
    """No series may be analysed; the codes of the reasons, each once."""


class UnchangedError(StepError):
    """The study was analysed with the same images."""
