"""Records of the findings: masks, probabilities, volumes and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Literal

from lungct.records.images import Chest, MaskArray, QualityFlag, ReadOnlyArrays


class Lobe(StrEnum):
    """The five lobes, named as in the report."""

    LEFT_UPPER = "left_upper"
    LEFT_LOWER = "left_lower"
    RIGHT_UPPER = "right_upper"
    RIGHT_MIDDLE = "right_middle"
    RIGHT_LOWER = "right_lower"

    @property
    def label(self) -> int:
        """Value of the lobe in label maps: 1 to 5 in the order of this enumeration."""
        return list(Lobe).index(self) + 1


LEFT_LOBES = (Lobe.LEFT_UPPER, Lobe.LEFT_LOWER)
RIGHT_LOBES = (Lobe.RIGHT_UPPER, Lobe.RIGHT_MIDDLE, Lobe.RIGHT_LOWER)


@dataclass(frozen=True)
class Validation:
    """The chests that a model was measured on.

    Attributes:
        data: ``synthetic`` chests; CTs of institutions that gave cases to training too (``internal``), or of
            others (``external``).
        institutions: number of them, 0 for synthetic chests.
    """

    data: Literal["synthetic", "internal", "external"]
    cases: int
    institutions: int


@dataclass(frozen=True)
class ModelInfo:
    """Weights that were used.

    Attributes:
        provisional: the model card says that the weights are not validated.
        validated_on: None where the model card does not say.
    """

    name: str
    version: str
    sha256: str
    provisional: bool
    validated_on: Validation | None = None


@dataclass(frozen=True, eq=False)
class Trachea(ReadOnlyArrays):
    """The first part of the airway tree.

    Attributes:
        box: part of ``Chest.volume`` that holds it.
        lumen: ``[slices, rows, columns]`` of the box, 1 in its air.
    """

    box: tuple[slice, slice, slice]
    lumen: MaskArray


@dataclass(frozen=True, eq=False)
class LungAnatomy(ReadOnlyArrays):
    """The lobes on the grid of ``Chest.volume``.

    Attributes:
        lobes: ``[slices, rows, columns]``, :attr:`Lobe.label` inside the lobes, 0 elsewhere.
        confidence: mean probability that the network gave the lobe it chose, by lobe; a lobe that was not
            found is left out, and so are all where no network drew them.
        trachea: the trachea that was taken out of the lobes; None where none was seen or looked for.
    """

    lobes: MaskArray
    model: ModelInfo
    confidence: Mapping[Lobe, float] = field(default_factory=dict)
    trachea: Trachea | None = None

    @cached_property
    def lobes_found(self) -> tuple[Lobe, ...]:
        """The lobes that have voxels."""
        return tuple(lobe for lobe in Lobe if (self.lobes == lobe.label).any())


@dataclass(frozen=True, eq=False)
class Opacities(ReadOnlyArrays):
    """Infectious lung opacities on the grid of ``Chest.volume``.

    Attributes:
        mask: ``[slices, rows, columns]``, 1 inside an opacity, 0 elsewhere; never outside the lobes.
    """

    mask: MaskArray
    model: ModelInfo


@dataclass(frozen=True, eq=False)
class BronchovascularTree(ReadOnlyArrays):
    """Airways and pulmonary vessels on the grid of ``Chest.volume``; no number depends on them.

    Attributes:
        airways: ``[slices, rows, columns]``, 1 in the lumen of trachea and bronchi, 0 elsewhere.
        vessels: ``[slices, rows, columns]``, 1 in vessels inside the lungs, never in airways, 0 elsewhere.
        is_wanted: False where the settings leave them out; then both are empty.
    """

    airways: MaskArray
    vessels: MaskArray
    is_wanted: bool = True


@dataclass(frozen=True)
class Probabilities:
    """Output of the classifier; sums to one."""

    covid19: float
    other_infection: float
    no_infection: float


@dataclass(frozen=True)
class Classification:
    """Output of the classifier, with the classifier that gave it.

    Attributes:
        energy: how unlike its training chests the network finds this one, see
            :func:`lungct.findings.classification.classify`.
        highest_energy: energy up to which the model was validated; None where nobody measured it.
    """

    probabilities: Probabilities
    model: ModelInfo
    energy: float = 0.0
    highest_energy: float | None = None


@dataclass(frozen=True)
class Extent:
    """Volume of a region of the lungs, and of the opacities in it."""

    lung_ml: float
    opacity_ml: float

    @property
    def opacity_percent(self) -> float | None:
        """Exact percentage; None where the region is missing."""
        return 100.0 * self.opacity_ml / self.lung_ml if self.lung_ml > 0 else None

    def __add__(self, other: Extent) -> Extent:
        """Join two regions."""
        return Extent(self.lung_ml + other.lung_ml, self.opacity_ml + other.opacity_ml)


class Involvement(StrEnum):
    """Bands of the CT severity score (Pan et al. 2020)."""

    NONE = "none"
    MILD = "mild"
    MODERATE = "moderate"
    SEVERE = "severe"


@dataclass(frozen=True)
class Quantification:
    """Affected volume of every lobe and the scores that follow from it."""

    lobes: Mapping[Lobe, Extent]
    lobe_scores: Mapping[Lobe, int]
    severity_score: int
    involvement: Involvement

    @property
    def left_lung(self) -> Extent:
        """Both left lobes."""
        return sum((self.lobes[lobe] for lobe in LEFT_LOBES), Extent(0.0, 0.0))

    @property
    def right_lung(self) -> Extent:
        """All three right lobes."""
        return sum((self.lobes[lobe] for lobe in RIGHT_LOBES), Extent(0.0, 0.0))

    @property
    def total(self) -> Extent:
        """Both lungs."""
        return self.left_lung + self.right_lung


class Diagnosis(StrEnum):
    """Outcome of the decision rule."""

    COVID19 = "covid19"
    OTHER_INFECTION = "other_infection"
    NO_INFECTION = "no_infection"


@dataclass(frozen=True)
class Findings:
    """The content of the report; ``classifier_validation`` is None where nobody measured the classifier."""

    probabilities: Probabilities
    diagnosis: Diagnosis
    quantification: Quantification
    flags: tuple[QualityFlag, ...]
    models: tuple[ModelInfo, ...]
    classifier_validation: Validation | None = None


@dataclass(frozen=True, eq=False)
class Analysis:
    """The content of all results; masks lie on the grid of ``chest.volume``."""

    chest: Chest
    anatomy: LungAnatomy
    opacities: Opacities
    tree: BronchovascularTree
    findings: Findings
