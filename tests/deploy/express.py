"""The rules that MONAI Deploy Workflow Manager applies when a clinical workflow is registered.

Source: Project-MONAI/monai-deploy-workflow-manager, guidelines/mwm-workflow-spec.md (properties, types and
lengths), src/WorkflowManager/WorkflowManager/Validators/WorkflowValidator.cs (rules),
src/Common/Configuration/ArgoParameters.cs and src/TaskManager/Plug-ins/Docker/Keys.cs (arguments of tasks).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jsonschema

Json = dict[str, Any]


def _object(required: list[str], **properties: Json) -> Json:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


_TEXT: Json = {"type": "string", "minLength": 1}
_TEXTS: Json = {"type": "object", "additionalProperties": {"type": "string"}}
_CONDITION: Json = {
    "type": "string",
    "pattern": r"^\{\{ context\.dicom\.series\.(any|all)\('[0-9A-F]{4}','[0-9A-F]{4}'\) \}\} "
    r"(== '[^']+'|CONTAINS \['[^']+'(, '[^']+')*\])$",
}

_TASK = _object(
    ["id", "type"],
    id={"type": "string", "pattern": "^[a-zA-Z0-9_-]+$"},
    description=_TEXT,
    type={"enum": ["argo", "docker", "export", "router"]},
    args=_TEXTS,
    task_destinations=_list(_object(["name"], name=_TEXT, conditions=_list(_CONDITION))),
    export_destinations=_list(_object(["name"], name=_TEXT)),
    artifacts=_object(
        [],
        input=_list(_object(["name", "value"], name=_TEXT, value=_TEXT, mandatory={"type": "boolean"})),
        output=_list(_object(["name"], name=_TEXT, mandatory={"type": "boolean"})),
    ),
)

WORKFLOW = _object(
    ["name", "version", "informatics_gateway", "tasks"],
    name={"type": "string", "minLength": 1, "maxLength": 15},
    version=_TEXT,
    description={"type": "string", "maxLength": 200},
    informatics_gateway=_object(
        ["ae_title"],
        ae_title={"type": "string", "minLength": 1, "maxLength": 15},
        data_origins=_list(_TEXT),
        export_destinations=_list(_TEXT),
    ),
    tasks=_list(_TASK) | {"minItems": 1},
)

DOCKER_ARGUMENTS = {"server_url", "entrypoint", "command", "container_image", "temp_storage_container_path"}
ARGO_ARGUMENTS = {
    "namespace",
    "server_url",
    "allow_insecure",
    "workflow_template_name",
    "timeoutSeconds",
    "apiToken",
    "resources",
    "parameters",
    "priority",
    "cpu",
    "memory",
    "gpu_required",
}


def faults(workflow: Json) -> Iterator[str]:
    """One line for everything that the workflow manager or its plug-ins would refuse."""
    for error in jsonschema.Draft202012Validator(WORKFLOW).iter_errors(workflow):
        yield f"{error.json_path}: {error.message}"
    tasks: list[Json] = workflow["tasks"]
    targets = [target["name"] for task in tasks for target in task.get("task_destinations", [])]
    if sorted(targets) != sorted(task["id"] for task in tasks[1:]):
        yield f"every task but the first needs exactly one task that leads to it, found {Counter(targets)}"
    exports = set(workflow["informatics_gateway"].get("export_destinations", []))
    for task in tasks:
        yield from _task_faults(task)
        yield from _reference_faults(task, tasks)
        if {target["name"] for target in task.get("export_destinations", [])} - exports:
            yield f"{task['id']}: destination is not registered in informatics_gateway"


def _task_faults(task: Json) -> Iterator[str]:
    arguments = set(task.get("args", {}))
    artifacts = task.get("artifacts", {})
    if task["type"] != "router" and not artifacts.get("input"):
        yield f"{task['id']}: has no input"
    if task["type"] == "export" and not task.get("export_destinations"):
        yield f"{task['id']}: has no destination"
    if task["type"] == "argo" and ("workflow_template_name" not in arguments or arguments - ARGO_ARGUMENTS):
        yield f"{task['id']}: arguments {arguments}"
    if task["type"] == "docker":
        paths = {artifact["name"] for side in artifacts.values() for artifact in side}
        if missing := (DOCKER_ARGUMENTS | paths) - arguments:
            yield f"{task['id']}: arguments lack {missing}"
        if "," in task["args"]["command"]:
            yield f"{task['id']}: a comma splits the command"


def _reference_faults(task: Json, tasks: list[Json]) -> Iterator[str]:
    known = {
        f"context.executions.{other['id']}.artifacts.{output['name']}"
        for other in tasks
        for output in other.get("artifacts", {}).get("output", [])
    } | {"context.input.dicom"}
    for artifact in task.get("artifacts", {}).get("input", []):
        reference = re.fullmatch(r"\{\{ (\S+) \}\}", artifact["value"])
        if not reference or reference[1] not in known:
            yield f"{task['id']}: {artifact['value']} refers to nothing"
