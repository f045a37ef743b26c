"""The findings as a few lines of text for a terminal; no patient data."""

from __future__ import annotations

from lungct.report.result import FindingsResult, Result
from lungct.report.wording import Wording


def summary(result: Result) -> str:
    """Return diagnosis, probabilities, score, lobes and flags; the reason where there are no findings."""
    if result.findings is None:
        return result.reason.message if result.reason else result.status
    flags = [f"Flag: {flag.message} ({flag.code})" for flag in result.quality_flags]
    return "\n".join([result.notice, *_lines(result.findings, Wording("en")), *flags])


def _lines(findings: FindingsResult, words: Wording) -> list[str]:
    probabilities = findings.probabilities
    rows = {name.replace("_", " "): lobe for name, lobe in findings.lobes.items()}
    lines = [
        "Infection: " + words(f"diagnosis.{findings.diagnosis}"),
        f"Probabilities: COVID-19 {probabilities.covid19:.2f}, other {probabilities.other_infection:.2f}, "
        f"none {probabilities.no_infection:.2f}",
        f"CT severity score: {findings.severity_score} of 25 ({findings.involvement})",
        f"{'':<14}{'lung mL':>9}{'opacity mL':>12}{'opacity %':>11}",
    ]
    for name, extent in (rows | {"both lungs": findings.total}).items():
        percent = extent.opacity_percent
        shown = words("not_found") if percent is None else words.number(percent, 1)
        lines.append(f"{name:<14}{extent.lung_ml:>9.0f}{extent.opacity_ml:>12.0f}{shown:>11}")
    return lines
