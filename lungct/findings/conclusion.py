"""Everything the report says, put together."""

from __future__ import annotations

from lungct.findings.classification import decide
from lungct.findings.quality import quality_flags
from lungct.records import (
    BronchovascularTree,
    Chest,
    Classification,
    Findings,
    LungAnatomy,
    Opacities,
    Quantification,
)


def conclude(
    chest: Chest,
    anatomy: LungAnatomy,
    classification: Classification,
    opacities: Opacities,
    tree: BronchovascularTree,
    quantification: Quantification,
) -> Findings:
    """Apply the decision rule and collect the quality flags."""
    diagnosis = decide(classification.probabilities)
    models = (anatomy.model, classification.model, opacities.model)
    flags = quality_flags(chest, anatomy, classification, diagnosis, quantification, models, tree)
    validation = classification.model.validated_on
    return Findings(classification.probabilities, diagnosis, quantification, flags, models, validation)
