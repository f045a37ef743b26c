"""``result.json``: the outcome of every run in one machine-readable file.

The JSON Schema in ``docs/reference/result.schema.json`` is generated from these models.
"""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib import metadata
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

import lungct
from lungct.errors import EXIT_ANALYSED, LungCtError
from lungct.journal import Journal
from lungct.records import Extent, Findings, Lobe, Reason, Scan, Selection, SeriesVerdict
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
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReasonResult(_Model):
    """A stable code for machines and one line for people."""

    code: str
    message: str

    @classmethod
    def of(cls, reason: Reason) -> ReasonResult:
        """From a record."""
        return cls(code=reason.code, message=reason.message)


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

    @classmethod
    def of(cls, verdict: SeriesVerdict) -> SeriesResult:
        """From a record."""
        series = verdict.series
        return cls(
            study_instance_uid=series.study_uid,
            series_instance_uid=series.series_uid,
            series_number=series.series_number,
            modality=series.modality,
            n_images=len(series.slices),
            slice_thickness_mm=series.slice_thickness_mm,
            manufacturer=series.manufacturer,
            kernel=series.kernel,
            eligible=verdict.eligible,
            rank=verdict.rank,
            reasons=[ReasonResult.of(reason) for reason in verdict.reasons],
            preferences=[ReasonResult.of(reason) for reason in verdict.preferences],
        )


class InputResult(_Model):
    """What the input folder held."""

    n_skipped_files: int
    skipped_files: list[SkippedFileResult]
    series: list[SeriesResult]
    analysed_series_instance_uid: str | None
    accepted_codes: list[str]

    @classmethod
    def of(cls, scan: Scan | None, selection: Selection | None) -> InputResult:
        """From as much as the run got to know."""
        skipped = scan.skipped if scan else ()
        chosen = selection.chosen if selection else None
        return cls(
            n_skipped_files=len(skipped),
            skipped_files=[
                SkippedFileResult(name=file.name, reason=ReasonResult.of(file.reason))
                for file in skipped[:MAX_SKIPPED_LISTED]
            ],
            series=[SeriesResult.of(verdict) for verdict in (selection.verdicts if selection else ())],
            analysed_series_instance_uid=chosen.series_uid if chosen else None,
            accepted_codes=list(selection.accepted_codes) if selection else [],
        )


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

    @classmethod
    def of(cls, extent: Extent) -> ExtentResult:
        """From a record."""
        return cls(
            lung_ml=extent.lung_ml, opacity_ml=extent.opacity_ml, opacity_percent=extent.opacity_percent
        )


class LobeResult(ExtentResult):
    """Volumes of a lobe and its share of the severity score."""

    score: int


class FindingsResult(_Model):
    """What the report says."""

    diagnosis: Literal["covid19", "other_infection", "no_infection"]
    probabilities: ProbabilitiesResult
    severity_score: int
    involvement: Literal["none", "mild", "moderate", "severe"]
    lobes: dict[Literal["left_upper", "left_lower", "right_upper", "right_middle", "right_lower"], LobeResult]
    left_lung: ExtentResult
    right_lung: ExtentResult
    total: ExtentResult

    @classmethod
    def of(cls, findings: Findings) -> FindingsResult:
        """From a record."""
        quantification = findings.quantification
        lobes = {
            lobe.value: LobeResult(
                **ExtentResult.of(quantification.lobes[lobe]).model_dump(),
                score=quantification.lobe_scores[lobe],
            )
            for lobe in Lobe
        }
        return cls.model_validate(
            {
                "diagnosis": findings.diagnosis.value,
                "probabilities": vars(findings.probabilities),
                "severity_score": quantification.severity_score,
                "involvement": quantification.involvement.value,
                "lobes": lobes,
                "left_lung": ExtentResult.of(quantification.left_lung),
                "right_lung": ExtentResult.of(quantification.right_lung),
                "total": ExtentResult.of(quantification.total),
            }
        )


class ValidationResult(_Model):
    """What a model was measured on."""

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
    """The result of a run that ended well (``error`` is None) or not.

    Args:
        journal: what the run got to know.
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
            "input": InputResult.of(journal.scan, journal.selection),
            "findings": FindingsResult.of(findings) if findings else None,
            "quality_flags": [ReasonResult.of(flag) for flag in findings.flags] if findings else [],
            "models": [asdict(model) for model in findings.models] if findings else [],
            "outputs": outputs,
            "timings_s": {name: round(seconds, 3) for name, seconds in journal.timings_s.items()},
            "software": list_software_versions(),
        }
    )


def list_software_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    installed = {distribution.name: distribution.version for distribution in metadata.distributions()}
    packages = {name: installed[name] for name in REPORTED_PACKAGES if name in installed}
    return {"python": platform.python_version(), **packages}
