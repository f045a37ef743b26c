"""What all operators share: receive records, do one step, emit one record."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from monai.deploy.core import ExecutionContext, Fragment, InputContext, Operator, OperatorSpec, OutputContext

from lungct.errors import without_text
from lungct.journal import Journal
from lungct.networks.weights import LoadedModel, VerifiedModel, verify_model


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
            with self.journal.stage(self.name):
                record = self.process(*records)
        except Exception as error:
            raise without_text(error) from None
        self.journal.note(record)
        if self.output:
            op_output.emit(record, self.output)

    @abstractmethod
    def process(self, *records: Any) -> object:
        """The step itself."""


class ModelStage(Stage):
    """A stage that needs a network.

    Its weights are verified before the first stage runs. The network is built when the stage runs, since its
    libraries take seconds to import, and a study without an eligible series needs none.

    Attributes:
        model_name: folder below the models folder.
        build: makes the network from its weights, as it is fastest on the device.
        parameters: what ``model.json`` must tell besides the weights.
        verified: the weights, from :meth:`start` on.
    """

    model_name: ClassVar[str]
    build: ClassVar[Callable[[VerifiedModel, torch.device], LoadedModel]]
    parameters: ClassVar[tuple[str, ...]] = ()
    verified: VerifiedModel

    def __init__(
        self, fragment: Fragment, *args: Any, models_dir: Path, device: torch.device, **options: Any
    ) -> None:
        """Remember where the weights are and where the network shall run."""
        self.models_dir = models_dir
        self.device = device
        super().__init__(fragment, *args, **options)

    def start(self) -> None:
        """Verify the weights."""
        self.verified = verify_model(self.models_dir, self.model_name, self.parameters)

    @cached_property
    def model(self) -> LoadedModel:
        """The network with its weights."""
        return type(self).build(self.verified, self.device)
