"""The common part of all operators: receive records, do one step, emit one record."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from monai.deploy.core import ExecutionContext, Fragment, InputContext, Operator, OperatorSpec, OutputContext

from lungct.errors import hide_text
from lungct.journal import Journal
from lungct.networks.models import Models
from lungct.settings import Settings


@dataclass(frozen=True, eq=False)
class Task:
    """One run of the graph, as all operators know it.

    Attributes:
        folder: existing folder for the files of the analysis.
        journal: times the stages and keeps what ``result.json`` needs.
    """

    input_path: Path
    folder: Path
    settings: Settings
    models: Models
    journal: Journal


class Stage(Operator):
    """An operator that turns the records on its inputs into one record.

    Subclasses name their ports and implement :meth:`process`. Every record is emitted, since Holoscan skips
    all that follows an operator that emits nothing and still reports success.

    Attributes:
        inputs: names of the input ports, in the order of the arguments of :meth:`process`.
        output: name of the output port; empty at the end of the graph, since Holoscan never runs an operator
            whose output leads nowhere.
    """

    inputs: ClassVar[tuple[str, ...]] = ()
    output: ClassVar[str] = ""

    def __init__(self, fragment: Fragment, *conditions: Any, task: Task, name: str) -> None:
        """Take the task, and conditions of Holoscan for when to run."""
        self.task = task
        super().__init__(fragment, *conditions, name=name)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        for port in self.inputs:
            spec.input(port)
        if self.output:
            spec.output(self.output)

    def compute(self, op_input: InputContext, op_output: OutputContext, context: ExecutionContext) -> None:  # noqa: ARG002
        """Run the step once; Holoscan prints errors whole, so an unforeseen one leaves without its text."""
        records = [op_input.receive(port) for port in self.inputs]
        try:
            record = self.task.journal.run(self.name, self.process, *records)
        except Exception as error:
            raise hide_text(error) from None
        if self.output:
            op_output.emit(record, self.output)

    @abstractmethod
    def process(self, *records: Any) -> object:
        """Return the record that follows from those on the inputs."""
