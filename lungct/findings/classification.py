"""Running the classifier and deciding on its probabilities."""

from __future__ import annotations

import torch

from lungct.errors import ModelError
from lungct.networks.classifier3d import class_logits
from lungct.networks.weights import LoadedModel
from lungct.records import Classification, CtVolume, Diagnosis, LungAnatomy, Probabilities

DECISION_CUT_OFF = 0.45
"""Topff et al. 2023, "Statistical analysis"."""


@torch.inference_mode()
def classify(volume: CtVolume, anatomy: LungAnatomy, model: LoadedModel) -> Classification:
    """Return the probabilities of the classes, at the temperature found in validation (Guo et al. 2017).

    The energy is the negative log-sum-exp of the logits (Liu et al. 2020, NeurIPS 33: 21464): high where no
    class answers to what is seen.

    Args:
        volume: canonical volume.
        anatomy: lobes on the same grid.
        model: :class:`lungct.networks.Classifier3d` with its weights; parameters ``temperature``, else 1,
            and ``highest_energy``, else unknown.

    Raises:
        ModelError: the network gives no finite numbers, or its temperature is not above 0.
    """
    temperature = model.parameters.get("temperature", 1.0)
    if temperature <= 0:
        raise ModelError(f"{model.info.name}: temperature {temperature} in model.json must be above 0")
    logits = class_logits(volume.volume_hu, anatomy.lobes, model.network)
    if not logits.isfinite().all():
        raise ModelError("the classifier gives no finite numbers: install the model again", "NOT_FINITE")
    shares = (logits / temperature).softmax(dim=0)
    energy = -float(logits.logsumexp(dim=0))
    return Classification(
        Probabilities(*shares.tolist()), model.info, energy, model.parameters.get("highest_energy")
    )


def decide(probabilities: Probabilities) -> Diagnosis:
    """Apply the paper's rule; where both tests pass, the order decides (ADR 0002)."""
    if probabilities.no_infection > DECISION_CUT_OFF:
        return Diagnosis.NO_INFECTION
    if probabilities.covid19 > DECISION_CUT_OFF:
        return Diagnosis.COVID19
    return Diagnosis.OTHER_INFECTION
