"""The text of the report: one analysis in words and rounded numbers; PDF and HTML decide how it looks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import lungct
from lungct.findings.classification import DECISION_CUT_OFF
from lungct.findings.quality import LOBES_IN_DOUBT, SEVERE_FLAGS, hyphenate
from lungct.records import Analysis, Chest, Extent, Lobe, ModelInfo, Quantification, Selection, Validation
from lungct.report.glyphs import find_unprintable
from lungct.report.result import list_software_versions
from lungct.report.wording import Wording

COLUMNS = ("region", "lung_ml", "opacity_ml", "opacity_percent", "score")

LONGEST_VALUE = 120
LONGEST_MESSAGE = 600
"""Most characters; DICOM allows 64 in most attributes, but files do not keep to it. Own decision."""

PLACEHOLDER = "\N{WHITE SQUARE}"
"""Sign in place of a letter that no font of the PDF has."""


class Probability(NamedTuple):
    """One class of the classifier."""

    name: str
    value: float
    text: str


class Region(NamedTuple):
    """A row of the table; ``score`` is empty for the lungs."""

    name: str
    lung_ml: str
    opacity_ml: str
    opacity_percent: str
    score: str


class Flag(NamedTuple):
    """A quality flag: a few words in the language of the report, and the details in English."""

    label: str
    message: str
    code: str


@dataclass(frozen=True)
class ReportContent:
    """All text of the report but captions.

    Attributes:
        header, totals, conclusion: labels and values.
        banners: one sentence for each severe flag, to be read before anything else.
        validation: how far the probabilities have been validated.
        series: the analysed series and why it was chosen.
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
    region = "region_doubtful" if LOBES_IN_DOUBT in codes else "region"
    accepted = ", ".join(analysis.chest.selection.accepted_codes)
    n_flags = len(codes)
    return ReportContent(
        words=words,
        header=_header(analysis.chest, words),
        banners=tuple(words(f"severe.{code}", codes=accepted) for code in SEVERE_FLAGS if code in codes),
        flags_title=words({0: "flags_none", 1: "flags_one"}.get(n_flags, "flags_many"), count=n_flags),
        flags=tuple(
            Flag(
                words.get(f"flag.{flag.code}", flag.code), printable(flag.message, LONGEST_MESSAGE), flag.code
            )
            for flag in findings.flags
        ),
        probabilities=tuple(
            Probability(words(f"class.{name}"), value, words.number(value, 2))
            for name, value in vars(findings.probabilities).items()
        ),
        validation=_validation(findings.classifier_validation, words),
        columns=tuple(words(f"column.{name}") for name in (region, *COLUMNS[1:])),
        lobes=tuple(
            _region(lobe, quantification.lobes[lobe], words, str(quantification.lobe_scores[lobe]))
            for lobe in Lobe
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
            words("methods.decision", cut_off=words.number(DECISION_CUT_OFF, 2)),
            words("methods.source"),
        ),
        limits=tuple(words(f"limits.{name}") for name in ("device", "classes", "mask", "independent")),
    )


def _validation(validation: Validation | None, words: Wording) -> str:
    if validation is None:
        return words("validated.none")
    return words(f"validated.{validation.data}", cases=validation.cases, institutions=validation.institutions)


def _model(model: ModelInfo, words: Wording) -> str:
    validated = f" ({words('provisional')})" if model.provisional else ""
    return f"{model.name} {model.version}{validated}, SHA-256 {model.sha256}"


def format_percent(extent: Extent, words: Wording) -> str:
    """Return the percentage with one decimal, or a word for a missing region."""
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
    centre = "" if "InstitutionName" in patient.misfits else patient.institution
    study = "" if "StudyDescription" in patient.misfits else patient.study_description
    values = (
        ("imaging_centre", printable(centre)),
        ("patient_name", printable(name)),
        ("study", printable(study)),
        ("patient_id", patient_id),
        ("study_date", _study_date(chest, words)),
        ("modality", "CT"),
    )
    return tuple((words(key), value or words("unknown")) for key, value in values)


def _study_date(chest: Chest, words: Wording) -> str:
    """Return the date of the analysed study and, where there were several, the dates of all."""
    date, seen = printable(hyphenate(chest.patient.study_date)), chest.selection.study_dates_seen
    if len(seen) <= 1:
        return date
    return words("study_date_of", date=date or words("unknown"), dates=", ".join(map(hyphenate, seen)))


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
