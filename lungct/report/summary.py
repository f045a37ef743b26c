"""The findings as a few lines of text for a terminal; no patient data."""

from __future__ import annotations

from lungct.records import Findings, Lobe
from lungct.report.content import format_percent
from lungct.report.wording import Wording


def summary(findings: Findings) -> str:
    """Diagnosis, probabilities, score, lobes and flags."""
    words, probabilities, quantification = Wording("en"), findings.probabilities, findings.quantification
    rows = [(lobe.replace("_", " "), quantification.lobes[lobe]) for lobe in Lobe]
    lines = [
        words("notice"),
        "Infection: " + words(f"diagnosis.{findings.diagnosis.value}"),
        f"Probabilities: COVID-19 {probabilities.covid19:.2f}, other {probabilities.other_infection:.2f}, "
        f"none {probabilities.no_infection:.2f}",
        f"CT severity score: {quantification.severity_score} of 25 ({quantification.involvement})",
        f"{'':<14}{'lung mL':>9}{'opacity mL':>12}{'opacity %':>11}",
    ]
    lines += [
        f"{name:<14}{extent.lung_ml:>9.0f}{extent.opacity_ml:>12.0f}{format_percent(extent, words):>11}"
        for name, extent in (*rows, ("both lungs", quantification.total))
    ]
    lines += [f"Flag: {flag.message} ({flag.code})" for flag in findings.flags]
    return "\n".join(lines)
