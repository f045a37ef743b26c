"""``result.json`` tells every outcome and follows its published schema."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from lungct.errors import GeometryError, LungCtError, NoEligibleSeriesError
from lungct.journal import Journal
from lungct.records import Chest, Findings
from lungct.report.result import build_result, make_result_schema

SCHEMA_FILE = Path(__file__).parents[3] / "docs" / "reference" / "result.schema.json"


@pytest.fixture
def journal(chest: Chest, findings: Findings) -> Journal:
    journal = Journal()
    for record in (chest.selection.scan, chest.selection, findings):
        journal.note(record)
    with journal.stage("dicom_loader"):
        pass
    return journal


def as_json(journal: Journal, error: LungCtError | None = None) -> dict:
    result = json.loads(build_result(journal, error, []).model_dump_json())
    jsonschema.validate(result, json.loads(SCHEMA_FILE.read_text()))
    return result


def test_published_schema_is_the_one_of_the_code() -> None:
    assert json.loads(SCHEMA_FILE.read_text()) == make_result_schema(), "run: make schema"


def test_analysed_study_has_findings_and_no_reason(journal: Journal) -> None:
    result = as_json(journal)
    assert (result["status"], result["exit_code"], result["reason"]) == ("analysed", 0, None)
    assert result["findings"]["diagnosis"] == "covid19"
    assert result["findings"]["probabilities"]["covid19"] == 0.78
    assert result["findings"]["lobes"]["right_lower"]["opacity_ml"] == pytest.approx(4 * 14 * 18 * 0.016)
    assert result["input"]["analysed_series_instance_uid"] == "1.2.3.4"
    assert "Research use only" in result["notice"]


def test_flags_and_models_are_told(journal: Journal) -> None:
    result = as_json(journal)
    assert "MODELS_PROVISIONAL" in [flag["code"] for flag in result["quality_flags"]]
    assert result["models"][0]["sha256"] == "0" * 64


@pytest.mark.parametrize(
    ("error", "status", "exit_code"),
    [
        (NoEligibleSeriesError("none", "NO_ELIGIBLE_SERIES"), "no_eligible_series", 3),
        (GeometryError("uneven", "MIXED_SIZES"), "bad_input", 4),
        (LungCtError("oops"), "internal_error", 1),
    ],
)
def test_failure_has_its_reason_and_no_findings(
    journal: Journal, error: LungCtError, status: str, exit_code: int
) -> None:
    result = as_json(journal, error)
    assert (result["status"], result["exit_code"]) == (status, exit_code)
    assert result["reason"] == {"code": error.code, "message": str(error)}
    assert result["findings"] is None
    assert result["models"] == []


def test_failure_before_the_scan_is_told_too() -> None:
    assert as_json(Journal(), LungCtError("oops"))["input"]["series"] == []


def test_patient_is_not_told(journal: Journal, chest: Chest) -> None:
    text = json.dumps(as_json(journal), ensure_ascii=False)
    assert chest.patient.patient_name not in text
    assert chest.patient.patient_id not in text
