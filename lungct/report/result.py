"""``result.json``: the outcome of every run in one machine-readable file.

The JSON Schema in ``docs/reference/result.schema.json`` is generated from these models.
"""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

import lungct
from lungct.errors import EXIT_ANALYSED, LungCtError
from lungct.journal import Journal
from lungct.records import Findings, Scan, Selection, SeriesVerdict
from lungct.report.wording import Wording

SCHEMA_VERSION: Final = "1.0"
NOTICE = Wording("en")("notice")
REPORTED_PACKAGES = (
    "torch",
    "monai",
    "holoscan-cu13",
    "monai-deploy-app-sdk",
    "pydicom",
    "highdicom",
    "numpy",
)
MAX_SKIPPED_LISTED = 100


class _Model(BaseModel):
    """Base of all models, which are also made from records that have fields of the same names."""

    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)


class ReasonResult(_Model):
    """A stable code for machines and one line for people."""

    code: str
    message: str


class SkippedFileResult(_Model):
    """A file that belongs to no series, and why."""

    name: str
    reason: ReasonResult


class SeriesResult(_Model):
    """The verdict on one series."""

    study_instance_uid: str
    series_instance_uid: str
    series_number: int | None
    modality: str
    n_images: int
    slice_thickness_mm: float | None
    manufacturer: str
    kernel: str
    eligible: bool
    rank: int | None
    reasons: list[ReasonResult]
    preferences: list[ReasonResult]


class InputResult(_Model):
    """The content of the input folder."""

    n_skipped_files: int
    skipped_files: list[SkippedFileResult]
    series: list[SeriesResult]
    analysed_series_instance_uid: str | None
    accepted_codes: list[str]


class ProbabilitiesResult(_Model):
    """Output of the classifier."""

    covid19: float
    other_infection: float
    no_infection: float


class ExtentResult(_Model):
    """Volumes of a region; the percentage is null where the region has no volume."""

    lung_ml: float
    opacity_ml: float
    opacity_percent: float | None


class LobeResult(ExtentResult):
    """Volumes of a lobe and its share of the severity score."""

    score: int


class FindingsResult(_Model):
    """The findings as the report states them."""

    diagnosis: Literal["covid19", "other_infection", "no_infection"]
    probabilities: ProbabilitiesResult
    severity_score: int
    involvement: Literal["none", "mild", "moderate", "severe"]
    lobes: dict[Literal["left_upper", "left_lower", "right_upper", "right_middle", "right_lower"], LobeResult]
    left_lung: ExtentResult
    right_lung: ExtentResult
    total: ExtentResult


class ValidationResult(_Model):
    """The chests that a model was measured on."""

    data: Literal["synthetic", "internal", "external"]
    cases: int
    institutions: int


class ModelResult(_Model):
    """Weights that were used; ``validated_on`` is null where their model card does not say."""

    name: str
    version: str
    sha256: str
    provisional: bool
    validated_on: ValidationResult | None


class Result(_Model):
    """The whole file."""

    schema_version: Literal["1.0"]
    notice: str
    application_version: str
    status: Literal[
        "analysed",
        "internal_error",
        "bad_settings",
        "no_eligible_series",
        "bad_input",
        "cannot_write",
        "bad_model",
    ]
    exit_code: int
    reason: ReasonResult | None
    input: InputResult
    findings: FindingsResult | None
    quality_flags: list[ReasonResult]
    models: list[ModelResult]
    outputs: list[str]
    timings_s: dict[str, float]
    software: dict[str, str]


def build_result(journal: Journal, error: LungCtError | None, outputs: list[str]) -> Result:
    """Return the result of a run that ended well (``error`` is None) or not.

    Args:
        journal: records of the stages that the run reached.
        error: why it ended early.
        outputs: names of the files beside ``result.json``.
    """
    findings = journal.findings if error is None else None
    return Result.model_validate(
        {
            "schema_version": SCHEMA_VERSION,
            "notice": NOTICE,
            "application_version": lungct.__version__,
            "status": error.status if error else "analysed",
            "exit_code": error.exit_code if error else EXIT_ANALYSED,
            "reason": {"code": error.code, "message": str(error)} if error else None,
            "input": _describe_input(journal.scan, journal.selection),
            "findings": _describe_findings(findings) if findings else None,
            "quality_flags": findings.flags if findings else [],
            "models": findings.models if findings else [],
            "outputs": outputs,
            "timings_s": {name: round(seconds, 3) for name, seconds in journal.timings_s.items()},
            "software": list_software_versions(),
        }
    )


def _describe_input(scan: Scan | None, selection: Selection | None) -> dict[str, Any]:
    skipped = scan.skipped if scan else ()
    chosen = selection.chosen if selection else None
    return {
        "n_skipped_files": len(skipped),
        "skipped_files": skipped[:MAX_SKIPPED_LISTED],
        "series": [_describe_series(verdict) for verdict in (selection.verdicts if selection else ())],
        "analysed_series_instance_uid": chosen.series_uid if chosen else None,
        "accepted_codes": selection.accepted_codes if selection else [],
    }


def _describe_series(verdict: SeriesVerdict) -> dict[str, Any]:
    series = verdict.series
    return {
        "study_instance_uid": series.study_uid,
        "series_instance_uid": series.series_uid,
        "series_number": series.series_number,
        "modality": series.modality,
        "n_images": len(series.slices),
        "slice_thickness_mm": series.slice_thickness_mm,
        "manufacturer": series.manufacturer,
        "kernel": series.kernel,
        "eligible": verdict.eligible,
        "rank": verdict.rank,
        "reasons": verdict.reasons,
        "preferences": verdict.preferences,
    }


def _describe_findings(findings: Findings) -> dict[str, Any]:
    quantification = findings.quantification
    return {
        "diagnosis": findings.diagnosis.value,
        "probabilities": findings.probabilities,
        "severity_score": quantification.severity_score,
        "involvement": quantification.involvement.value,
        "lobes": {
            lobe.value: {
                **vars(extent),
                "opacity_percent": extent.opacity_percent,
                "score": quantification.lobe_scores[lobe],
            }
            for lobe, extent in quantification.lobes.items()
        },
        "left_lung": quantification.left_lung,
        "right_lung": quantification.right_lung,
        "total": quantification.total,
    }


def list_software_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the numbers."""
    installed = {distribution.name: distribution.version for distribution in metadata.distributions()}
    packages = {name: installed[name] for name in REPORTED_PACKAGES if name in installed}
    return {"python": platform.python_version(), **packages}


def summarise(result: Result) -> str:
    """Return diagnosis, probabilities, score, lobes and flags in a few lines for a terminal.

    They hold no patient data. Without findings, return the reason.
    """
    findings, words = result.findings, Wording("en")
    if findings is None:
        return result.reason.message if result.reason else result.status
    probabilities = findings.probabilities
    lines = [
        result.notice,
        "Infection: " + words(f"diagnosis.{findings.diagnosis}"),
        f"Probabilities: COVID-19 {probabilities.covid19:.2f}, other {probabilities.other_infection:.2f}, "
        f"none {probabilities.no_infection:.2f}",
        f"CT severity score: {findings.severity_score} of 25 ({findings.involvement})",
        f"{'':<14}{'lung mL':>9}{'opacity mL':>12}{'opacity %':>11}",
    ]
    for name, extent in (*findings.lobes.items(), ("both_lungs", findings.total)):
        percent = extent.opacity_percent
        shown = words("not_found") if percent is None else words.number(percent, 1)
        label = name.replace("_", " ")
        lines.append(f"{label:<14}{extent.lung_ml:>9.0f}{extent.opacity_ml:>12.0f}{shown:>11}")
    return "\n".join([*lines, *(f"Flag: {flag.message} ({flag.code})" for flag in result.quality_flags)])


def make_result_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``result.json`` with its dialect and a name that changes with its version."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:lungct:result:{SCHEMA_VERSION}",
        **Result.model_json_schema(),
    }
