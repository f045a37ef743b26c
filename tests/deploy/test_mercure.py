"""The mercure module: what it hands to mercure, and what mercure reads of it.

The fields of modules and rules are those of the classes Module and Rule in mercure-imaging/mercure,
app/common/types.py; how notifications are read is in app/common/notification.py.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from pydicom import dcmread

from lungct_research.synthesis.phantom.dicom_study import write_localizer
from lungct_research.synthesis.phantom.study_options import StudyOptions
from tests.application_runs import PLANTED, ROOT, PhantomRun

MERCURE = ROOT / "deploy" / "mercure"

MODULE_FIELDS = {
    "docker_tag",
    "additional_volumes",
    "environment",
    "docker_arguments",
    "settings",
    "contact",
    "comment",
    "constraints",
    "resources",
    "requires_root",
    "requires_persistence",
    "persistence_folder_name",
    "network_enabled",
}
RULE_FIELDS = {
    "rule",
    "target",
    "action",
    "action_trigger",
    "study_trigger_condition",
    "priority",
    "processing_module",
    "processing_settings",
    "processing_retain_images",
    "notification_email",
    "notification_webhook",
    "notification_payload",
    "notification_trigger_reception",
    "notification_trigger_completion",
    "notification_trigger_completion_on_request",
    "notification_trigger_error",
}
DOCKER_ARGUMENTS = {"mem_limit", "read_only", "runtime", "shm_size", "pids_limit"}
"""Some that mercure allows where it forbids unsafe ones: app/webinterface/modules.py, ALLOWED_DOCKER_ARGS."""


@pytest.fixture(scope="module")
def module() -> Any:
    spec = importlib.util.spec_from_file_location("mercure_module", MERCURE / "module.py")
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def start(module: Any, monkeypatch: pytest.MonkeyPatch, study: Path, out: Path) -> int:
    out.mkdir()
    monkeypatch.setenv("MERCURE_IN_DIR", str(study))
    monkeypatch.setenv("MERCURE_OUT_DIR", str(out))
    monkeypatch.setenv("HOLOSCAN_APPLICATION", str(ROOT / "app"))
    monkeypatch.setenv("HOLOSCAN_MODEL_PATH", str(ROOT / "models"))
    exit_code: int = module.main()
    return exit_code


def alert(out: Path) -> dict[str, Any]:
    notification: dict[str, Any] = json.loads((out / "result.json").read_text())["__mercure_notification"]
    return notification


def test_alert_tells_involvement_and_decision(module: Any, phantom_run: PhantomRun) -> None:
    result = phantom_run.run.result
    notification = module.notification(result)
    assert module.DECISIONS[result["findings"]["diagnosis"]] in notification["text"]
    assert f"involvement {result['findings']['involvement']}" in notification["text"]
    assert f"score {result['findings']['severity_score']} of 25" in notification["text"]
    assert "MODELS_PROVISIONAL" in notification["text"]
    assert "research use only" in notification["text"]
    assert notification["requested"]
    assert not [value for value in PLANTED.values() if value in notification["text"]]


def test_healthy_chest_asks_for_no_alert(module: Any, phantom_run: PhantomRun) -> None:
    result = phantom_run.run.result
    findings = result["findings"] | {"diagnosis": "no_infection", "involvement": "none"}
    assert not module.notification(result | {"findings": findings})["requested"]
    findings["involvement"] = "mild"
    assert module.notification(result | {"findings": findings})["requested"]


def test_every_decision_has_its_words(module: Any) -> None:
    schema = json.loads((ROOT / "docs/reference/result.schema.json").read_text())
    assert set(module.DECISIONS) == set(schema["$defs"]["FindingsResult"]["properties"]["diagnosis"]["enum"])


def test_dicom_results_lie_where_mercure_sends_from(
    module: Any, phantom_run: PhantomRun, tmp_path: Path
) -> None:
    out = shutil.copytree(phantom_run.run.out, tmp_path / "out")
    names = sorted(path.name for path in out.glob("dicom/*.dcm"))
    module.flatten(out)
    assert sorted(path.name for path in out.glob("*.dcm")) == names
    assert len({dcmread(out / name).SOPInstanceUID for name in names}) == len(names)


def test_study_without_eligible_series_is_told_and_is_no_failure(
    module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_localizer(np.full((40, 32, 32), -800, np.int16), tmp_path / "study", StudyOptions())
    (tmp_path / "study" / "task.json").write_text("{}")
    assert start(module, monkeypatch, tmp_path / "study", tmp_path / "out") == 0
    assert "not analysed" in alert(tmp_path / "out")["text"]


def test_failure_keeps_its_exit_code(module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    assert start(module, monkeypatch, tmp_path / "study", tmp_path / "out") == 4
    assert alert(tmp_path / "out")["requested"]


def test_module_is_confined() -> None:
    (settings,) = json.loads((MERCURE / "module.json").read_text()).values()
    version = yaml.safe_load((ROOT / "app.yaml").read_text())["application"]["version"]
    assert settings.keys() == MODULE_FIELDS
    assert settings["docker_tag"] == f"lungct-mercure:{version}"
    assert not settings["network_enabled"]
    assert not settings["requires_root"]
    assert json.loads(settings["docker_arguments"]).keys() <= DOCKER_ARGUMENTS


def test_rule_starts_the_module() -> None:
    (module_name,) = json.loads((MERCURE / "module.json").read_text())
    (rule,) = json.loads((MERCURE / "rule.json").read_text()).values()
    assert rule.keys() <= RULE_FIELDS
    assert rule["processing_module"] == module_name


@pytest.mark.parametrize(
    ("modality", "description", "starts"),
    [
        ("CT", StudyOptions().study_description, True),
        ("CT", "CT CHEST WITHOUT CONTRAST", True),
        ("CT", "CT Head", False),
        ("CR", "Chest PA", False),
    ],
)
def test_rule_picks_chest_cts(modality: str, description: str, starts: bool) -> None:
    (rule,) = json.loads((MERCURE / "rule.json").read_text()).values()
    tags = SimpleNamespace(Modality=modality, StudyDescription=description)
    assert eval(rule["rule"], {"tags": tags}) is starts  # noqa: S307
