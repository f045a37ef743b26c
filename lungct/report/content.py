"""What the report says about one analysis, in words and rounded numbers; PDF and HTML decide how it looks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import lungct
from lungct.findings.classification import DECISION_CUT_OFF
from lungct.findings.quality import SEVERE_FLAGS
from lungct.records import (
    Analysis,
    Chest,
    Extent,
    Lobe,
    ModelInfo,
    QualityFlag,
    Quantification,
    Selection,
    Validation,
)
from lungct.report.glyphs import find_unprintable
from lungct.report.result import list_software_versions
from lungct.report.wording import Wording

COLUMNS = ("region", "lung_ml", "opacity_ml", "opacity_percent", "score")

LONGEST_VALUE = 120
LONGEST_MESSAGE = 600
"""Characters; DICOM allows 64 in most attributes, but files do not keep to it. Own decision."""

PLACEHOLDER = "\N{WHITE SQUARE}"
"""Stands for a letter that no font of the PDF has."""

LOBES_IN_DOUBT = "ORIENTATION_DOUBTFUL"
"""Code of the flag with which no side and no lobe is named with confidence."""


@dataclass(frozen=True)
class Probability:
    """One class of the classifier."""

    name: str
    value: float
    text: str


@dataclass(frozen=True)
class Region:
    """A row of the table; ``score`` is empty for the lungs."""

    name: str
    lung_ml: str
    opacity_ml: str
    opacity_percent: str
    score: str


@dataclass(frozen=True)
class Flag:
    """A quality flag: a few words in the language of the report, and the details in English."""

    label: str
    message: str
    code: str


@dataclass(frozen=True)
class ReportContent:
    """All text of the report but captions.

    Attributes:
        header: label and value of what identifies patient and study.
        banners: what must be read before anything else: one sentence for each severe flag.
        totals: label and value of what the table sums up to.
        conclusion: label and value of infection and involvement.
        validation: what the probabilities are worth.
        severity_score: 0 to 25.
        series: the analysed series and why it was chosen.
        models: one line each; with checksum.
    """

    words: Wording
    header: tuple[tuple[str, str], ...]
    banners: tuple[str, ...]
    flags_title: str
    flags: tuple[Flag, ...]
    probabilities: tuple[Probability, ...]
    validation: str
    columns: tuple[str, ...]
    lobes: tuple[Region, ...]
    lungs: tuple[Region, ...]
    totals: tuple[tuple[str, str], ...]
    conclusion: tuple[tuple[str, str], ...]
    severity_score: int
    series: tuple[str, ...]
    models: tuple[str, ...]
    software: str
    methods: tuple[str, ...]
    limits: tuple[str, ...]


def write_content(analysis: Analysis, words: Wording) -> ReportContent:
    """Put an analysis into words."""
    findings, quantification = analysis.findings, analysis.findings.quantification
    codes = [flag.code for flag in findings.flags]
    score_of = quantification.lobe_scores
    cut_off = words.number(DECISION_CUT_OFF, 2)
    return ReportContent(
        words=words,
        header=_header(analysis.chest, words),
        banners=_banners(codes, analysis.chest.selection, words),
        flags_title=_flags_title(len(findings.flags), words),
        flags=tuple(_flag(flag, words) for flag in findings.flags),
        probabilities=tuple(
            Probability(words(f"class.{name}"), value, words.number(value, 2))
            for name, value in vars(findings.probabilities).items()
        ),
        validation=_validation(findings.classifier_validation, words),
        columns=_columns(codes, words),
        lobes=tuple(
            _region(lobe.value, quantification.lobes[lobe], words, str(score_of[lobe])) for lobe in Lobe
        ),
        lungs=(
            _region("left_lung", quantification.left_lung, words),
            _region("right_lung", quantification.right_lung, words),
            _region("both_lungs", quantification.total, words),
        ),
        totals=_totals(quantification, words),
        conclusion=(
            (words("infection"), words(f"diagnosis.{findings.diagnosis.value}")),
            (words("involvement"), words(f"involvement.{quantification.involvement.value}")),
        ),
        severity_score=quantification.severity_score,
        series=tuple(_series(analysis.chest.selection, words)),
        models=tuple(_model(model, words) for model in findings.models),
        software=", ".join(
            [f"lungct {lungct.__version__}", *map(" ".join, list_software_versions().items())]
        ),
        methods=(
            words("methods.volumes"),
            words("methods.score"),
            words("methods.decision", cut_off=cut_off),
            words("methods.source"),
        ),
        limits=tuple(words(f"limits.{name}") for name in ("device", "classes", "mask", "independent")),
    )


def _software() -> str:
    return ", ".join([f"lungct {lungct.__version__}", *map(" ".join, list_software_versions().items())])


def _banners(codes: list[str], selection: Selection, words: Wording) -> tuple[str, ...]:
    """Return a sentence for each severe flag."""
    accepted = ", ".join(selection.accepted_codes)
    return tuple(words(f"severe.{code}", codes=accepted) for code in SEVERE_FLAGS if code in codes)


def _columns(codes: list[str], words: Wording) -> tuple[str, ...]:
    region = "region_doubtful" if LOBES_IN_DOUBT in codes else "region"
    return tuple(words(f"column.{name}") for name in (region, *COLUMNS[1:]))


def _flag(flag: QualityFlag, words: Wording) -> Flag:
    return Flag(
        words.get(f"flag.{flag.code}", flag.code), printable(flag.message, LONGEST_MESSAGE), flag.code
    )


def _validation(validation: Validation | None, words: Wording) -> str:
    if validation is None:
        return words("validated.none")
    return words(f"validated.{validation.data}", cases=validation.cases, institutions=validation.institutions)


def _model(model: ModelInfo, words: Wording) -> str:
    validated = f" ({words('provisional')})" if model.provisional else ""
    return f"{model.name} {model.version}{validated}, SHA-256 {model.sha256}"


def format_percent(extent: Extent, words: Wording) -> str:
    """One decimal; a missing region says so."""
    percent = extent.opacity_percent
    return words("not_found") if percent is None else words.number(percent, 1)


def printable(text: str, longest: int = LONGEST_VALUE) -> str:
    """Return the text cut to a length, with a sign for each letter that the PDF cannot print."""
    if len(text) > longest:
        text = f"{text[:longest]}\N{HORIZONTAL ELLIPSIS}"
    for letter in find_unprintable(text):
        text = text.replace(letter, PLACEHOLDER)
    return text


def _header(chest: Chest, words: Wording) -> tuple[tuple[str, str], ...]:
    patient = chest.patient
    patient_id = printable(patient.patient_id) or words("unknown")
    name = patient.patient_name
    if "PatientName" in patient.misfits or find_unprintable(name):
        name = words("not_printable", id=patient_id)
    centre, study = (
        "" if keyword in patient.misfits else printable(value)
        for keyword, value in (
            ("InstitutionName", patient.institution),
            ("StudyDescription", patient.study_description),
        )
    )
    values = (
        ("imaging_centre", centre),
        ("patient_name", printable(name)),
        ("study", study),
        ("patient_id", patient_id),
        ("study_date", _study_date(chest, words)),
        ("modality", "CT"),
    )
    return tuple((words(key), value or words("unknown")) for key, value in values)


def _study_date(chest: Chest, words: Wording) -> str:
    """Return the date of the analysed study and, where there were several, the dates of all."""
    date, seen = _iso_date(chest.patient.study_date), chest.selection.study_dates_seen
    if len(seen) <= 1:
        return date
    return words("study_date_of", date=date or words("unknown"), dates=", ".join(map(_iso_date, seen)))


def _iso_date(dicom_date: str) -> str:
    is_full = len(dicom_date) == len("YYYYMMDD") and dicom_date.isdecimal()
    return f"{dicom_date[:4]}-{dicom_date[4:6]}-{dicom_date[6:]}" if is_full else printable(dicom_date)


def _flags_title(count: int, words: Wording) -> str:
    key = {0: "flags_none", 1: "flags_one"}.get(count, "flags_many")
    return words(key, count=count)


def _region(name: str, extent: Extent, words: Wording, score: str = "") -> Region:
    return Region(
        words(f"region.{name}"),
        words.number(extent.lung_ml, 0),
        words.number(extent.opacity_ml, 0),
        format_percent(extent, words),
        score,
    )


def _totals(quantification: Quantification, words: Wording) -> tuple[tuple[str, str], ...]:
    total = quantification.total
    return (
        (words("total_lung"), f"{words.number(total.lung_ml, 0)} mL"),
        (words("affected_volume"), f"{words.number(total.opacity_ml, 0)} mL"),
        (words("affected_percent"), f"{format_percent(total, words)} %"),
        (words("severity"), words("of_25", score=quantification.severity_score)),
    )


def _series(selection: Selection, words: Wording) -> Iterator[str]:
    if selection.first is None:
        return
    series, unknown = selection.first.series, words("unknown")
    thickness_mm = series.slice_thickness_mm
    yield words(
        "analysed",
        number=unknown if series.series_number is None else series.series_number,
        images=len(series.slices),
        thickness=unknown if thickness_mm is None else f"{words.number(thickness_mm, 2)} mm",
        kernel=printable(series.kernel) or unknown,
    )
    reasons = [
        words.get(f"preference.{preference.code}", preference.message)
        for preference in selection.first.preferences
    ]
    if len(selection.verdicts) > 1:
        yield words("chosen", count=len(selection.verdicts), reasons=", ".join(reasons))
