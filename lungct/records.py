"""Frozen records that travel between the stages of the analysis.

Arrays are ``[slices, rows, columns]``. ``affine_lps`` maps homogeneous array indices
``(slice, row, column, 1)`` to patient coordinates in millimetres (L, P, S; DICOM PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property, reduce
from pathlib import Path

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
MaskArray = npt.NDArray[np.uint8]
HuArray = npt.NDArray[np.int16] | npt.NDArray[np.float32]


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
class Reason:
    """Why something is so: a stable code for machines and one line for people."""

    code: str
    message: str


@dataclass(frozen=True)
class QualityFlag(Reason):
    """Something odd about the input or the findings that the reader of the report must know."""


@dataclass(frozen=True, eq=False)
class CtVolume:
    """A CT volume in Hounsfield units on a regular grid.

    Attributes:
        volume_hu: ``[slices, rows, columns]``, int16 where every slice's rescale is integral, else float32.
        affine_lps: 4 x 4, indices (slice, row, column, 1) to LPS millimetres.
        flags: what had to be done to the slices to make them a volume.
    """

    volume_hu: HuArray
    affine_lps: Float64Array
    flags: tuple[QualityFlag, ...] = ()

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along (slices, rows, columns)."""
        slice_mm, row_mm, column_mm = np.linalg.norm(self.affine_lps[:3, :3], axis=0)
        return float(slice_mm), float(row_mm), float(column_mm)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine_lps[:3, :3]))) / 1000.0

    def with_flags(self, *flags: QualityFlag) -> CtVolume:
        """The same volume with more flags."""
        return replace(self, flags=(*self.flags, *flags))


@dataclass(frozen=True)
class SliceHeader:
    """What series selection and slice sorting need of one DICOM image, read without its pixels.

    Attributes:
        path: the file.
        position_mm: Image Position (Patient), LPS, of the centre of the first voxel.
        orientation: Image Orientation (Patient): direction of a row, then of a column.
        is_lossy: the pixels were once compressed with loss.
        frame: zero-based index of the image within its file; a multi-frame file gives one header a frame.
        name: how messages call the image: path below the scanned folder, and the frame where there are more.
    """

    path: Path = field(repr=False)
    instance_number: int | None
    rows: int
    columns: int
    position_mm: tuple[float, float, float] | None
    orientation: tuple[float, float, float, float, float, float] | None
    pixel_spacing_mm: tuple[float, float] | None
    image_type: tuple[str, ...]
    acquisition_number: int | None = None
    is_lossy: bool = False
    frame: int = 0
    name: str = ""


@dataclass(frozen=True)
class Series:
    """One DICOM series: what its headers say. Free text that may name a patient stays out.

    Attributes:
        age_years: patient's age at the study, None where unknown.
        slice_thickness_mm: the largest Slice Thickness, None where missing.
        kernel: Convolution Kernel.
    """

    study_uid: str
    series_uid: str
    modality: str
    slices: tuple[SliceHeader, ...]
    series_number: int | None = None
    manufacturer: str = ""
    kernel: str = ""
    slice_thickness_mm: float | None = None
    body_part: str = ""
    age_years: float | None = None

    @property
    def name(self) -> str:
        """How messages call the series; holds no patient data."""
        number = "without number" if self.series_number is None else str(self.series_number)
        return f"series {number} ({len(self.slices)} images)"


@dataclass(frozen=True)
class PatientStudy:
    """Identifying attributes the report prints. Never logged: ``repr`` shows none of them."""

    patient_name: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    institution: str = field(default="", repr=False)
    study_description: str = field(default="", repr=False)
    study_date: str = field(default="", repr=False)


@dataclass(frozen=True)
class SkippedFile:
    """A file of the input folder that is not part of any series, and why."""

    name: str
    reason: Reason


@dataclass(frozen=True)
class Scan:
    """All that a header-only walk over the input folder found."""

    root: Path = field(repr=False)
    series: tuple[Series, ...]
    skipped: tuple[SkippedFile, ...] = ()


@dataclass(frozen=True)
class SeriesVerdict:
    """Whether a series may be analysed, why (not), and its place among those that may.

    Attributes:
        reasons: empty exactly when the series is eligible.
        rank: 1 for the series that is analysed, 2 and more for other eligible ones, None otherwise.
        preferences: why an eligible series ranks where it does.
    """

    series: Series
    reasons: tuple[Reason, ...] = ()
    rank: int | None = None
    preferences: tuple[Reason, ...] = ()

    @property
    def eligible(self) -> bool:
        """True where no rule speaks against the series."""
        return not self.reasons


@dataclass(frozen=True)
class Selection:
    """The verdict on every series of a scan; at most one series is chosen."""

    scan: Scan
    verdicts: tuple[SeriesVerdict, ...]

    @property
    def first(self) -> SeriesVerdict | None:
        """The verdict of rank 1, None where no series is eligible."""
        return next((verdict for verdict in self.verdicts if verdict.rank == 1), None)

    @property
    def chosen(self) -> Series | None:
        """The series that is analysed, None where none is eligible."""
        return self.first.series if self.first else None


@dataclass(frozen=True, eq=False)
class Chest:
    """The study that is analysed, ready for the networks.

    Attributes:
        selection: why this series.
        patient: what the report prints about the patient.
        source: the volume as the scanner stored it.
        volume: the same voxels with axes S, P, L (slice 0 most caudal, row 0 anterior, column 0 right); every
            mask lives on this grid.
    """

    selection: Selection
    patient: PatientStudy
    source: CtVolume
    volume: CtVolume


@dataclass(frozen=True)
class ModelInfo:
    """Which weights were used.

    Attributes:
        provisional: the model card says that the weights are not validated.
    """

    name: str
    version: str
    sha256: str
    provisional: bool


@dataclass(frozen=True, eq=False)
class LungAnatomy:
    """The lobes on the grid of ``Chest.volume``.

    Attributes:
        lobes: ``[slices, rows, columns]``, :attr:`Lobe.label` inside the lobes, 0 elsewhere.
    """

    lobes: MaskArray
    model: ModelInfo


@dataclass(frozen=True, eq=False)
class Opacities:
    """Infectious lung opacities on the grid of ``Chest.volume``.

    Attributes:
        mask: ``[slices, rows, columns]``, 1 inside an opacity, 0 elsewhere; never outside the lobes.
    """

    mask: MaskArray
    model: ModelInfo


@dataclass(frozen=True)
class Probabilities:
    """Output of the classifier; sums to one."""

    covid19: float
    other_infection: float
    no_infection: float


@dataclass(frozen=True)
class Classification:
    """What the classifier says and which classifier it was."""

    probabilities: Probabilities
    model: ModelInfo


@dataclass(frozen=True)
class Extent:
    """How much of a region of the lungs is opacity."""

    lung_ml: float
    opacity_ml: float

    @property
    def opacity_percent(self) -> float | None:
        """Exact percentage; None where the region is missing."""
        return 100.0 * self.opacity_ml / self.lung_ml if self.lung_ml > 0 else None

    def __add__(self, other: Extent) -> Extent:
        """Both regions together."""
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
        return _together(self.lobes[lobe] for lobe in LEFT_LOBES)

    @property
    def right_lung(self) -> Extent:
        """All three right lobes."""
        return _together(self.lobes[lobe] for lobe in RIGHT_LOBES)

    @property
    def total(self) -> Extent:
        """Both lungs."""
        return self.left_lung + self.right_lung


def _together(extents: Iterable[Extent]) -> Extent:
    return reduce(operator.add, extents, Extent(0.0, 0.0))


class Diagnosis(StrEnum):
    """Outcome of the decision rule."""

    COVID19 = "covid19"
    OTHER_INFECTION = "other_infection"
    NO_INFECTION = "no_infection"


@dataclass(frozen=True)
class Findings:
    """What the report says."""

    probabilities: Probabilities
    diagnosis: Diagnosis
    quantification: Quantification
    flags: tuple[QualityFlag, ...]
    models: tuple[ModelInfo, ...]
