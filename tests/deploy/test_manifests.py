"""Manifests for orchestrators, against their schemas and against each other."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hera.workflows import models as argo

from lungct.errors import EXIT_ANALYSED, LungCtError
from lungct_research.synthesis.phantom.study_options import StudyOptions
from tests.deploy import express

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
MANIFEST = yaml.safe_load((ROOT / "app.yaml").read_text())
IMAGE = f"lungct-x64-workstation-dgpu-linux-amd64:{MANIFEST['application']['version']}"
KUBERNETES = [
    "kubernetes/job.yaml",
    "kubernetes/job-gpu.yaml",
    "kubernetes/claims.yaml",
    "kubernetes/network-policy.yaml",
    "argo/network-policy.yaml",
    "argo/service-account.yaml",
]
ARGO = {"argo/workflow-template.yaml": argo.WorkflowTemplate, "argo/workflow.yaml": argo.Workflow}
WORKFLOWS = ["express/workflow-docker.json", "express/workflow-argo.json"]

Json = dict[str, Any]


def load(name: str) -> Json:
    document: Json = yaml.safe_load((DEPLOY / name).read_text())
    return document


def kubernetes_faults(document: Json) -> list[str]:
    try:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        return [str(error)]
    return []


def argo_faults(document: Json, model: type) -> list[str]:
    """The models of hera come from Argo's own schema; they drop keys that Argo does not know."""
    known = model.model_validate(document).model_dump(mode="json", by_alias=True, exclude_unset=True)  # type: ignore[attr-defined]
    return [] if known == document else [f"unknown keys in {document}"]


@pytest.mark.parametrize("name", KUBERNETES)
def test_kubernetes_manifest_is_valid(name: str) -> None:
    for document in yaml.safe_load_all((DEPLOY / name).read_text()):
        assert not kubernetes_faults(document)


@pytest.mark.parametrize("name", ARGO)
def test_argo_manifest_is_valid(name: str) -> None:
    assert not argo_faults(load(name), ARGO[name])


@pytest.mark.parametrize("name", WORKFLOWS)
def test_clinical_workflow_is_valid(name: str) -> None:
    assert not list(express.faults(load(name)))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_route_lets_the_phantom_through(name: str) -> None:
    (target,) = load(name)["tasks"][0]["task_destinations"]
    assert f"'{StudyOptions().study_description}'" in target["conditions"][1]


def test_wrong_manifests_are_found_out() -> None:
    job, template = load("kubernetes/job.yaml"), load("argo/workflow-template.yaml")
    job["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRoot"] = True
    template["spec"]["templates"][0]["container"]["securityContext"]["readOnlyRoot"] = True
    assert kubernetes_faults(job)
    assert argo_faults(template, argo.WorkflowTemplate)


def rename_task(workflow: Json) -> None:
    workflow["tasks"][1]["id"] = "renamed"


def comma_in_command(workflow: Json) -> None:
    workflow["tasks"][1]["args"]["command"] += " --log-level=a,b"


def unknown_destination(workflow: Json) -> None:
    workflow["tasks"][2]["export_destinations"] = [{"name": "ELSEWHERE"}]


def output_without_path(workflow: Json) -> None:
    del workflow["tasks"][1]["args"]["dicom"]


def number_as_argument(workflow: Json) -> None:
    workflow["tasks"][1]["args"]["task_timeout_minutes"] = 30


@pytest.mark.parametrize(
    "spoil", [rename_task, comma_in_command, unknown_destination, output_without_path, number_as_argument]
)
def test_wrong_clinical_workflow_is_found_out(spoil: Callable[[Json], None]) -> None:
    workflow = load("express/workflow-docker.json")
    spoil(workflow)
    assert list(express.faults(workflow))


def containers() -> list[Json]:
    return [
        load("kubernetes/job.yaml")["spec"]["template"]["spec"]["containers"][0],
        load("kubernetes/job-gpu.yaml")["spec"]["template"]["spec"]["containers"][0],
        load("argo/workflow-template.yaml")["spec"]["templates"][0]["container"],
    ]


@pytest.mark.parametrize("container", containers())
def test_container_is_confined_and_gets_what_the_application_asks_for(container: Json) -> None:
    assert container["image"] == IMAGE
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"]["memory"] == MANIFEST["resources"]["memory"]
    assert container["resources"]["requests"]["cpu"] == str(MANIFEST["resources"]["cpu"])
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/var/holoscan/output", "/tmp"}  # noqa: S108


def pod_security() -> list[Json]:
    job = load("kubernetes/job.yaml")["spec"]["template"]["spec"]["securityContext"]
    return [job, load("argo/workflow-template.yaml")["spec"]["securityContext"]]


@pytest.mark.parametrize("security", pod_security())
def test_pod_runs_as_user_1000(security: Json) -> None:
    assert security["runAsNonRoot"]
    assert (security["runAsUser"], security["runAsGroup"], security["fsGroup"]) == (1000, 1000, 1000)


def test_job_has_no_network() -> None:
    policy = load("kubernetes/network-policy.yaml")["spec"]
    labels = load("kubernetes/job.yaml")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & policy.keys()


def test_job_mounts_the_claims() -> None:
    claims = [
        claim["metadata"]["name"]
        for claim in yaml.safe_load_all((DEPLOY / "kubernetes/claims.yaml").read_text())
    ]
    volumes = load("kubernetes/job.yaml")["spec"]["template"]["spec"]["volumes"]
    named = [source["claimName"] for volume in volumes if (source := volume.get("persistentVolumeClaim"))]
    assert named == claims


def test_gpu_job_differs_in_name_and_gpu_only() -> None:
    job, gpu = load("kubernetes/job.yaml"), load("kubernetes/job-gpu.yaml")
    expected = copy.deepcopy(job)
    expected["metadata"]["name"] = "lungct-gpu"
    expected["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = 1
    assert gpu == expected


def exit_codes(error: type[LungCtError]) -> set[int]:
    return {error.exit_code}.union(*(exit_codes(leaf) for leaf in error.__subclasses__()))


def test_job_is_not_repeated_for_any_exit_code_of_the_application() -> None:
    (rule, *_) = load("kubernetes/job.yaml")["spec"]["podFailurePolicy"]["rules"]
    assert set(rule["onExitCodes"]["values"]) == exit_codes(LungCtError) - {EXIT_ANALYSED}


def test_docker_task_runs_as_user_1000_on_the_packaged_image() -> None:
    task = load("express/workflow-docker.json")["tasks"][1]
    assert task["args"]["user"] == "1000:1000"
    assert task["args"]["container_image"] == IMAGE


def test_argo_task_fits_the_template() -> None:
    task, template = load("express/workflow-argo.json")["tasks"][1], load("argo/workflow-template.yaml")
    assert task["args"]["workflow_template_name"] == template["metadata"]["name"]
    (step,) = template["spec"]["templates"]
    for side, key in (("input", "inputs"), ("output", "outputs")):
        names = [artifact["name"] for artifact in step[key]["artifacts"]]
        assert [artifact["name"] for artifact in task["artifacts"][side]] == names


def test_executor_of_the_template_has_a_token() -> None:
    account, secret, role, binding = yaml.safe_load_all((DEPLOY / "argo/service-account.yaml").read_text())
    name = load("argo/workflow-template.yaml")["spec"]["executor"]["serviceAccountName"]
    assert account["metadata"]["name"] == name
    assert secret["metadata"]["name"] == f"{name}.service-account-token"
    assert secret["metadata"]["annotations"] == {"kubernetes.io/service-account.name": name}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == [name]


def test_json_files_are_pure() -> None:
    for file in DEPLOY.rglob("*.json"):
        json.loads(file.read_text())
