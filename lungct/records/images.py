"""Records of the input: files, series and the volume."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.uid import CTImageStorage

Float64Array = npt.NDArray[np.float64]
MaskArray = npt.NDArray[np.uint8]
HuArray = npt.NDArray[np.int16] | npt.NDArray[np.float32]


class ReadOnlyArrays:
    """Base of records whose arrays cannot be written through; whoever owns an array still may write it."""

    def __post_init__(self) -> None:
        """Put a read-only view in place of every array."""
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                view = value.view()
                view.flags.writeable = False
                object.__setattr__(self, name, view)


@dataclass(frozen=True)
class Reason:
    """Why something is so: a stable code for machines and one line for people."""

    code: str
    message: str


@dataclass(frozen=True)
class QualityFlag(Reason):
    """Something odd about the input or the findings that the reader of the report must know."""


@dataclass(frozen=True, eq=False)
class CtVolume(ReadOnlyArrays):
    """A CT volume in Hounsfield units on a regular grid.

    Attributes:
        volume_hu: ``[slices, rows, columns]``, int16 where every slice's rescale is integral, else float32.
        affine_lps: 4 x 4, indices (slice, row, column, 1) to LPS millimetres.
        flags: changes that made a volume of the slices.
        images: stored image of each slice; empty where slices were resampled or turned.
    """

    volume_hu: HuArray
    affine_lps: Float64Array
    flags: tuple[QualityFlag, ...] = ()
    images: tuple[SliceHeader, ...] = ()

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
        """Return the volume with more flags."""
        return replace(self, flags=(*self.flags, *flags))


@dataclass(frozen=True)
class SliceHeader:
    """The header of one DICOM image, as series selection and slice sorting need it.

    Attributes:
        position_mm: Image Position (Patient), LPS, of the centre of the first voxel.
        orientation: Image Orientation (Patient): direction of a row, then of a column.
        is_lossy: the pixels were once compressed with loss.
        frame: zero-based index of the image within its file; a multi-frame file gives one header a frame.
        name: name in messages: path below the scanned folder, and the frame where there are more.
        marks: texts that tell passes of one series apart; the first is the kernel.
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
    sop_class_uid: str = CTImageStorage
    sop_instance_uid: str = ""
    marks: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Series:
    """The headers of one DICOM series; free text that may name a patient stays out.

    Attributes:
        frame_of_reference_uid: empty where the images do not share one.
        age_years: patient's age at the study, None where unknown.
        slice_thickness_mm: the largest Slice Thickness, None where missing.
        has_own_identifiers: False where UIDs of the images were missing, doubled or no UIDs and others
            stand in: no other object knows them, so results must not refer to these images.
        study_date: eight digits, year first; empty where unknown.
        patient: number of the patient within the scan, from 0; says nothing about who it is.
        is_expiration: a description says that the patient had breathed out.
        flags: changes that made a series of the files.
    """

    study_uid: str
    series_uid: str
    modality: str
    slices: tuple[SliceHeader, ...]
    series_number: int | None = None
    frame_of_reference_uid: str = ""
    manufacturer: str = ""
    kernel: str = ""
    slice_thickness_mm: float | None = None
    body_part: str = ""
    age_years: float | None = None
    has_own_identifiers: bool = True
    study_date: str = field(default="", repr=False)
    patient: int = 0
    is_expiration: bool = False
    says_chest: bool = False
    is_animal: bool = False
    flags: tuple[QualityFlag, ...] = ()

    @property
    def name(self) -> str:
        """Name in messages; holds no patient data."""
        number = "without number" if self.series_number is None else str(self.series_number)
        return f"series {number} ({len(self.slices)} images)"


@dataclass(frozen=True)
class PatientStudy:
    """Identifying attributes that the results carry. Never logged: ``repr`` shows none of them.

    Attributes:
        header: the first image of the series as stored, without pixels, for the DICOM objects.
        misfits: keywords of text whose bytes do not fit the character set that the header declares.
    """

    patient_name: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    institution: str = field(default="", repr=False)
    study_description: str = field(default="", repr=False)
    study_date: str = field(default="", repr=False)
    header: Dataset = field(default_factory=Dataset, repr=False, compare=False)
    misfits: tuple[str, ...] = ()


@dataclass(frozen=True)
class SkippedFile:
    """A file of the input folder that is not part of any series, and why."""

    name: str
    reason: Reason


@dataclass(frozen=True)
class Scan:
    """The series of the input folder, found by their headers alone."""

    root: Path = field(repr=False)
    series: tuple[Series, ...]
    skipped: tuple[SkippedFile, ...] = ()


@dataclass(frozen=True)
class SeriesVerdict:
    """The verdict on one series: may it be analysed, why (not), and its rank among those that may.

    Attributes:
        reasons: empty exactly when the series is eligible.
        rank: 1 for the series that is analysed, 2 and more for other eligible ones, None otherwise.
        preferences: why an eligible series ranks where it does.
        accepted_codes: rules that it breaks and that the user switched off.
    """

    series: Series
    reasons: tuple[Reason, ...] = ()
    rank: int | None = None
    preferences: tuple[Reason, ...] = ()
    accepted_codes: tuple[str, ...] = ()

    @property
    def eligible(self) -> bool:
        """True where no rule speaks against the series."""
        return not self.reasons


@dataclass(frozen=True)
class Selection:
    """The verdict on every series of a scan; at most one series is chosen.

    Attributes:
        study_dates_seen: Study Dates of the patient's studies in the scan, oldest first.
        accepted_codes: eligibility rules that the user switched off for this analysis.
    """

    scan: Scan
    verdicts: tuple[SeriesVerdict, ...]
    study_dates_seen: tuple[str, ...] = field(default=(), repr=False)
    accepted_codes: tuple[str, ...] = ()

    @property
    def outside_method(self) -> str:
        """One line that names the rules that are switched off; empty where none is."""
        return f"OUTSIDE_METHOD: {', '.join(self.accepted_codes)}" if self.accepted_codes else ""

    @property
    def first(self) -> SeriesVerdict | None:
        """The verdict of rank 1, None where no series is eligible."""
        return next((verdict for verdict in self.verdicts if verdict.rank == 1), None)

    @property
    def chosen(self) -> Series | None:
        """The series that is analysed, None where none is eligible."""
        return self.first.series if self.first else None

    @property
    def analysed(self) -> Series:
        """The series that is analysed, where there must be one.

        Raises:
            ValueError: there is none.
        """
        if self.chosen is None:
            raise ValueError("no series was chosen")
        return self.chosen


@dataclass(frozen=True, eq=False)
class Chest:
    """The study that is analysed, ready for the networks.

    Attributes:
        source: the volume as the scanner stored it.
        volume: the same voxels with axes S, P, L (slice 0 most caudal, row 0 anterior, column 0 right); every
            mask lives on this grid.
    """

    selection: Selection
    patient: PatientStudy
    source: CtVolume
    volume: CtVolume
