"""The classifier's training as a client of federated learning, by MONAI's interface.

Sending weights and averaging them is the platform's work, for example NVFlare's: see
``docs/how-to/train-federated.md``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from monai.fl.client.client_algo import ClientAlgo
from monai.fl.utils.constants import FlStatistics, WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from lungct.networks import Classifier3d
from lungct_research.training.epoch_runs import Cohort
from lungct_research.training.epochs import EpochRecipe, EpochTrainer
from lungct_research.training.trainer import Processes


class FederatedSite(ClientAlgo):
    """One hospital: its CTs stay, weights come and go.

    The optimiser and the schedule stay with the site from round to round.
    """

    def __init__(
        self,
        cohort: Cohort,
        recipe: EpochRecipe,
        run_dir: Path,
        seed: int,
        device: torch.device,
        epochs_a_round: int = 1,
    ) -> None:
        """Keep what a run by epochs takes, and how long a round is."""
        super().__init__()
        self.cohort, self.recipe, self.seed = cohort, recipe, seed
        self.run_dir, self.device, self.epochs_a_round = run_dir, device, epochs_a_round

    def initialize(self, extra: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Make the network; the first weights come from the server."""
        self.trainer = EpochTrainer(Classifier3d(), self.recipe, Processes(self.device), self.run_dir)

    def train(self, data: ExchangeObject, extra: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Train for one round, beginning with the weights that came."""
        self._take(data)
        until = self.trainer.progress.epoch + self.epochs_a_round
        # the server decides on the end, not the site's own validation
        self.trainer.recipe = self.recipe.model_copy(update={"epochs": until, "stop_after_epochs": until + 1})
        self.trainer.train(self.cohort.part("train"), self.cohort.part("validation"), self.seed)

    def get_weights(self, extra: dict[str, Any] | None = None) -> ExchangeObject:  # noqa: ARG002
        """Return the weights after the round, and the number of CTs by which a server may weigh them."""
        weights = {name: value.cpu() for name, value in self.trainer.network.state_dict().items()}
        seen = {FlStatistics.NUM_EXECUTED_ITERATIONS: len(self.cohort.part("train")) * self.epochs_a_round}
        return ExchangeObject(weights, weight_type=WeightType.WEIGHTS, statistics=seen)

    def evaluate(self, data: ExchangeObject, extra: dict[str, Any] | None = None) -> ExchangeObject:  # noqa: ARG002
        """Return the accuracy of the weights that came, on the validation cases of the site."""
        self._take(data)
        shares, labels = self.trainer.predict(self.cohort.part("validation"))
        return ExchangeObject(metrics={"accuracy": float((shares.argmax(1) == labels).mean())})

    def _take(self, data: ExchangeObject) -> None:
        weights = {name: torch.as_tensor(value) for name, value in (data.weights or {}).items()}
        self.trainer.network.load_state_dict(weights)
