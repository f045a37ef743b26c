"""Which series may be analysed, why (not), and which one is best: a rule-based choice that explains itself.

Input rules of Topff et al. 2023 (PLoS ONE 18(5): e0285121), Methods: adults, chest CT, volumetric series or
axial reconstruction, slices of at most 3 mm, at most 1.5 mm and a lung kernel recommended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from lungct.dicom_read.descriptions import CHEST_NAMES, OTHER_PARTS
from lungct.dicom_read.slice_grid import even_grid, slice_distances_mm, slice_normal, sort_slices
from lungct.dicom_read.vendor_kernels import is_lung_kernel
from lungct.errors import GeometryError, NoDicomError, SettingsError
from lungct.records import Reason, Scan, Selection, Series, SeriesVerdict, SliceHeader
from lungct.settings import SelectionLimits

_ROUNDING_MM = 1e-2

_PROJECTIONS = {
    "MIP",
    "MINIP",
    "MAX_IP",
    "MIN_IP",
    "MNIP",
    "PROJECTION IMAGE",
    "VRT",
    "SSD",
    "VOLREN",
}
_REFORMATIONS = {
    "MPR", "REFORMATTED", "CPR", "CURVED", "CSA MPR", "MPR_THICK", "CSA RESAMPLED", "RESAMPLED",
}  # fmt: skip
_COMPUTED = {
    "SUBTRACTION", "ADDITION", "DIVISION", "MULTIPLICATION", "PERFUSION", "IODINE", "VNC",
    "VIRTUAL NON CONTRAST", "Z_EFF", "ELECTRON DENSITY", "ELECTRON_DENSITY", "MATERIAL", "DENSITY",
    "FUSION", "MASK", "SEGMENTATION",
}  # fmt: skip
"""Kinds of images (PS3.3 C.8.2.1.1.1, C.8.16.1.3, and what workstations write) that are made of others."""


def _is_computed(image: SliceHeader) -> bool:
    return not _COMPUTED.isdisjoint(image.image_type[1:])


def _is_secondary(image: SliceHeader) -> bool:
    return "SCREEN SAVE" in image.image_type


_CT_CLASSES = {CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage}
_AXIAL = {"AXIAL", "VOLUME"}
_LOCALIZERS = {"LOCALIZER", "SCOUT"}
_IMAGE_TYPES: tuple[tuple[str, Callable[[SliceHeader], bool], str], ...] = (
    ("DERIVED", _is_computed, "computed from other images, so not in Hounsfield units"),
    ("SECONDARY", _is_secondary, "screenshots"),
    ("LOCALIZER", lambda image: not _LOCALIZERS.isdisjoint(image.image_type), "localizers"),
    ("MPR", lambda image: not _REFORMATIONS.isdisjoint(image.image_type), "reformations"),
    ("MIP", lambda image: not _PROJECTIONS.isdisjoint(image.image_type), "projections or renderings"),
)
_CHEST_PARTS = (*CHEST_NAMES, "TRUNK", "TORSO", "WHOLEBODY")

ACCEPTABLE_CODES = {
    "DERIVED", "EXTENT_TOO_SHORT", "LUNGS_CUT", "MIP", "MPR", "NOT_AXIAL", "NOT_CHEST", "SECONDARY",
    "SLICE_SPACING_TOO_WIDE", "SLICE_THICKNESS_UNKNOWN", "SLICE_TOO_THICK", "TOO_FEW_SLICES", "UNDER_AGE",
}  # fmt: skip
"""Rules that a researcher may set aside. Without the others, the images are no CT volume of a human."""

DEFAULT_LIMITS = SelectionLimits()


def require_acceptable(codes: Iterable[str]) -> frozenset[str]:
    """Return the codes as a set.

    Raises:
        SettingsError: one of them names no rule that may be set aside.
    """
    accepted = frozenset(codes)
    if unknown := sorted(accepted - ACCEPTABLE_CODES):
        raise SettingsError(
            f"{unknown[0]} cannot be accepted: choose from {', '.join(sorted(ACCEPTABLE_CODES))}"
        )
    return accepted


def select_series(
    scan: Scan,
    limits: SelectionLimits = DEFAULT_LIMITS,
    series_uid: str | None = None,
    accepted: frozenset[str] = frozenset(),
) -> Selection:
    """Judge every series and rank the eligible ones.

    The order is: later studies before earlier ones where all are of one patient, slices that form a grid
    before others, original images before derived ones, inspiration before expiration, thin before thick,
    lung kernel before others, original axial images before others, more slices before fewer, and the
    smaller series UID where all else is equal. Slices that form no grid do not exclude a series: reading it
    tells what is wrong with which file.

    Args:
        scan: what the folder holds.
        limits: of what may be analysed.
        series_uid: the only series that may be analysed.
        accepted: codes of broken rules that do not exclude a series.

    Returns:
        Verdicts, eligible series first in their rank; none of rank 1 where no series is eligible. The
        accepted codes are those that the first series would be excluded for.

    Raises:
        NoDicomError: the scan found no DICOM image.
    """
    if not scan.series:
        raise NoDicomError(_no_image_message(scan))
    verdicts = [accept(judge(series, limits), series_uid, accepted) for series in scan.series]
    latest_first = latest_study_first(scan)
    eligible = [(verdict, geometry_problem(verdict.series)) for verdict in verdicts if verdict.eligible]
    eligible.sort(key=lambda one: (latest_first(one[0].series), _rank_key(one[0].series, one[1], limits)))
    ranked = [
        replace(verdict, rank=rank, preferences=tuple(_preferences(verdict.series, problem, limits)))
        for rank, (verdict, problem) in enumerate(eligible, start=1)
    ]
    return Selection(
        scan=scan,
        verdicts=(*ranked, *(v for v in verdicts if not v.eligible)),
        study_dates_seen=study_dates(scan, ranked),
        accepted_codes=ranked[0].accepted_codes if ranked else (),
    )


def study_dates(scan: Scan, ranked: Sequence[SeriesVerdict]) -> tuple[str, ...]:
    """Return known study dates of the patient whose series ranks first, or else of all; oldest first."""
    patients = {verdict.series.patient for verdict in ranked[:1]} or {one.patient for one in scan.series}
    return tuple(sorted({one.study_date for one in scan.series if one.patient in patients} - {""}))


def latest_study_first(scan: Scan) -> Callable[[Series], int]:
    """Return the key that sorts later studies first; all are equal where the scan has several patients."""
    is_one_patient = len({series.patient for series in scan.series}) == 1
    return lambda series: -int(series.study_date or 0) if is_one_patient else 0


def accept(
    verdict: SeriesVerdict, series_uid: str | None = None, accepted: frozenset[str] = frozenset()
) -> SeriesVerdict:
    """Return the verdict without the reasons that are accepted, or with one more for another series."""
    left = tuple(reason for reason in verdict.reasons if reason.code not in accepted)
    codes = {reason.code for reason in verdict.reasons} & accepted | set(verdict.accepted_codes)
    if series_uid is not None and verdict.series.series_uid != series_uid:
        left = (*left, Reason("OTHER_SERIES_ASKED_FOR", "another series was asked for"))
    return replace(verdict, reasons=left, accepted_codes=tuple(sorted(codes)))


def judge(series: Series, limits: SelectionLimits = DEFAULT_LIMITS) -> SeriesVerdict:
    """Apply every rule to one series; each broken rule gives one reason."""
    rules = (
        _modality_reasons(series),
        _image_type_reasons(series),
        _orientation_reasons(series, limits),
        _thickness_reasons(series, limits),
        _coverage_reasons(series, limits),
        _patient_reasons(series, limits),
    )
    return SeriesVerdict(series, tuple(reason for rule in rules for reason in rule))


def _modality_reasons(series: Series) -> Iterator[Reason]:
    if series.modality != "CT":
        yield Reason("NOT_CT", f"modality is {series.modality or 'not stated'}, not CT")
    if others := sorted({image.sop_class_uid for image in series.slices} - _CT_CLASSES):
        yield Reason("NOT_CT_STORAGE", f"images are stored as {UID(others[0]).name}, not as CT images")


def _image_type_reasons(series: Series) -> Iterator[Reason]:
    for code, applies, what in _IMAGE_TYPES:
        if names := [image.name for image in series.slices if applies(image)]:
            yield Reason(code, f"{len(names)} of {len(series.slices)} images are {what}, first {names[0]}")


def _orientation_reasons(series: Series, limits: SelectionLimits) -> Iterator[Reason]:
    orientation = series.slices[0].orientation
    if orientation is None:
        yield Reason("NOT_AXIAL", "slice orientation is not stated")
    else:
        cosine = min(1.0, abs(float(slice_normal(orientation)[2])))
        tilt_deg = float(np.degrees(np.arccos(cosine)))
        if tilt_deg > limits.max_tilt_deg:
            yield Reason("NOT_AXIAL", f"slices are {tilt_deg:.0f} degrees off the axial plane")


def _thickness_reasons(series: Series, limits: SelectionLimits) -> Iterator[Reason]:
    thickness_mm, spacing_mm = series.slice_thickness_mm, _spacing_mm(series)
    limit_mm = limits.max_slice_thickness_mm
    if thickness_mm is None and spacing_mm is None:
        yield Reason("SLICE_THICKNESS_UNKNOWN", "neither slice thickness nor slice positions are stated")
    if thickness_mm is not None and thickness_mm > limit_mm + _ROUNDING_MM:
        yield Reason(
            "SLICE_TOO_THICK", f"slices are {thickness_mm:g} mm thick, at most {limit_mm:g} mm allowed"
        )
    if spacing_mm is not None and spacing_mm > limit_mm + _ROUNDING_MM:
        message = f"slices are {spacing_mm:.4g} mm apart, at most {limit_mm:g} mm allowed"
        yield Reason("SLICE_SPACING_TOO_WIDE", message)


def _coverage_reasons(series: Series, limits: SelectionLimits) -> Iterator[Reason]:
    n_slices, distances_mm = len(series.slices), slice_distances_mm(series.slices)
    if lost := [image.name for image in series.slices if image.position_mm is None]:
        message = f"{len(lost)} images do not say where they lie, or not in numbers, first {lost[0]}"
        yield Reason("POSITION_MISSING", message)
    if n_slices < limits.min_slices:
        yield Reason("TOO_FEW_SLICES", f"{n_slices} slices, at least {limits.min_slices} needed")
    extent_mm = float(np.ptp(distances_mm)) if len(distances_mm) else 0.0
    if extent_mm < limits.min_extent_mm - _ROUNDING_MM and not lost:
        message = f"slices cover {extent_mm:.0f} mm, at least {limits.min_extent_mm:g} mm needed"
        yield Reason("EXTENT_TOO_SHORT", message)


def _patient_reasons(series: Series, limits: SelectionLimits) -> Iterator[Reason]:
    if series.age_years is not None and series.age_years < limits.min_age_years:
        yield Reason("UNDER_AGE", f"patient is under {limits.min_age_years:g} years of age")
    if series.is_animal:
        yield Reason("NOT_HUMAN", "species, breed or owner say that the patient is an animal")
    if _is_of_other_part(series) and not series.says_chest:
        yield Reason("NOT_CHEST", "body part examined is not the chest")


def _is_of_other_part(series: Series) -> bool:
    body_part = series.body_part.upper()
    letters = "".join(filter(str.isalpha, body_part))
    return OTHER_PARTS.search(body_part) is not None and not any(name in letters for name in _CHEST_PARTS)


def _spacing_mm(series: Series) -> float | None:
    """Return the median distance of neighbouring slices; None where fewer than two have a position."""
    gaps_mm = np.diff(np.unique(slice_distances_mm(series.slices).round(3)))
    return float(np.median(gaps_mm)) if len(gaps_mm) else None


def geometry_problem(series: Series) -> Reason | None:
    """Return why the slices would not be read as one volume, as far as headers tell."""
    try:
        stack = sort_slices(series)
        even_grid(stack.select(stack.is_new))
    except GeometryError as error:
        return Reason(error.code, str(error))
    if n_copies := int(np.count_nonzero(~stack.is_new)):
        return Reason("REPEATED_POSITIONS", f"{n_copies} images lie where another one lies")
    return None


def _is_thin(series: Series, limits: SelectionLimits) -> bool:
    thickness_mm = max(series.slice_thickness_mm or 0.0, _spacing_mm(series) or 0.0)
    return 0 < thickness_mm <= limits.recommended_slice_thickness_mm + _ROUNDING_MM


def _is_original_axial(series: Series) -> bool:
    """Return whether the images are original and axial, which Enhanced CT calls VOLUME (PS3.3 C.8.16.1.3)."""
    return all(
        image.image_type[0] == "ORIGINAL" and not _AXIAL.isdisjoint(image.image_type)
        for image in series.slices
    )


def _is_derived(series: Series) -> bool:
    """Return whether Image Type says derived or secondary, which archives also write when they compress."""
    return any(
        image.image_type[0] == "DERIVED" or "SECONDARY" in image.image_type[1:2] for image in series.slices
    )


def _rank_key(
    series: Series, problem: Reason | None, limits: SelectionLimits
) -> tuple[bool, bool, bool, bool, bool, bool, int, str]:
    return (
        problem is not None,
        _is_derived(series),
        series.is_expiration,
        not _is_thin(series, limits),
        not is_lung_kernel(series.manufacturer, series.kernel),
        not _is_original_axial(series),
        -len(series.slices),
        series.series_uid,
    )


def _preferences(series: Series, problem: Reason | None, limits: SelectionLimits) -> Iterator[Reason]:
    """Yield what spoke for and against a series, in the order of weight."""
    if problem:
        yield problem
    if series.is_expiration:
        yield Reason("EXPIRATION", "described as taken after breathing out")
    if _is_derived(series):
        yield Reason("DERIVED_IMAGES", "image type says derived or secondary, as archives write it too")
    if _is_of_other_part(series):
        yield Reason("BODY_PART_CONTRADICTED", "body part examined is another, but descriptions say chest")
    limit_mm = limits.recommended_slice_thickness_mm
    if _is_thin(series, limits):
        yield Reason("THIN_SLICES", f"slices of at most {limit_mm:g} mm, as recommended")
    else:
        yield Reason("THICK_SLICES", f"slices not known to be at most {limit_mm:g} mm thick and apart")
    if is_lung_kernel(series.manufacturer, series.kernel):
        yield Reason("LUNG_KERNEL", f"lung kernel {series.kernel}, as recommended")
    else:
        yield Reason("OTHER_KERNEL", f"kernel {series.kernel or 'not stated'} is not known as a lung kernel")
    if _is_original_axial(series):
        yield Reason("ORIGINAL_AXIAL", "original axial images")
    else:
        yield Reason("OTHER_IMAGE_TYPE", "image type does not say original axial")
    yield Reason("SLICE_COUNT", f"{len(series.slices)} slices")


def _no_image_message(scan: Scan) -> str:
    """Say what was found instead of images and what to do."""
    counts = Counter(file.reason.code for file in scan.skipped)
    found = ", ".join(f"{count} {code}" for code, count in sorted(counts.items())) or "it is empty"
    return f"the input folder holds no DICOM image; name a folder with CT images (found: {found})"
