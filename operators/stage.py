"""What all operators share: receive records, do one step, emit one record."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from monai.deploy.core import ExecutionContext, Fragment, InputContext, Operator, OperatorSpec, OutputContext

from lungct.errors import without_text
from lungct.journal import Journal
from lungct.networks.models import Models


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

    def __init__(self, fragment: Fragment, *args: Any, journal: Journal, name: str) -> None:
        """Take the journal that times the stage and keeps what ``result.json`` needs."""
        self.journal = journal
        super().__init__(fragment, *args, name=name)

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
            record = self.journal.run(self.name, self.process, *records)
        except Exception as error:
            raise without_text(error) from None
        if self.output:
            op_output.emit(record, self.output)

    @abstractmethod
    def process(self, *records: Any) -> object:
        """The step itself."""


class ModelStage(Stage):
    """A stage that needs a network.

    Attributes:
        models: verified; the network is built when the stage first asks for it.
    """

    def __init__(self, fragment: Fragment, *args: Any, models: Models, **options: Any) -> None:
        """Take the networks that all stages share."""
        self.models = models
        super().__init__(fragment, *args, **options)
