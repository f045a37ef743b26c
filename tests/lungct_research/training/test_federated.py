"""Two sites and a server that averages, in one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.fl.utils.constants import FlStatistics
from monai.fl.utils.exchange_object import ExchangeObject

from lungct.networks import Classifier3d
from lungct.networks.classifier3d import CLASSES
from lungct_research.training.common import read_card
from lungct_research.training.epoch_runs import Cohort
from lungct_research.training.federated import FederatedSite
from tests.lungct_research.training.test_epochs import TINY, make_case

CPU = torch.device("cpu")


def site(folder: Path, seed: int) -> FederatedSite:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    cases = [
        make_case(folder / f"{part}-{label}.npz", rng, label, part)
        for part in ("train", "validation")
        for label in CLASSES
    ]
    found = FederatedSite(Cohort(cases, read_card("classifier")), TINY, folder, seed, CPU)
    found.initialize()
    return found


def test_sites_begin_with_the_weights_that_come_and_give_theirs_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shared = Classifier3d().state_dict()
    sites = [site(tmp_path / name, seed) for seed, name in enumerate(("north", "south"))]
    for _ in range(2):
        given = []
        for one in sites:
            one.train(ExchangeObject(shared))
            given.append(one.get_weights())
        assert not torch.equal(given[0].weights["0.0.weight"], given[1].weights["0.0.weight"])
        assert [each.statistics[FlStatistics.NUM_EXECUTED_ITERATIONS] for each in given] == [3, 3]
        shared = {
            name: torch.stack([each.weights[name].double() for each in given]).mean(0).to(value.dtype)
            for name, value in shared.items()
        }
    assert [one.trainer.progress.epoch for one in sites] == [2, 2]
    for one in sites:
        assert 0 <= one.evaluate(ExchangeObject(shared)).metrics["accuracy"] <= 1
        assert torch.equal(one.get_weights().weights["0.0.weight"], shared["0.0.weight"])
