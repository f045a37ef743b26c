"""The bill of materials: complete, nothing of development in it, valid, no licence that nobody has read."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from tests.application_runs import ROOT
from tests.packaging.checks import versions as locked_versions

Json = dict[str, Any]
MODELS = ("classifier", "lungs", "opacity")


@pytest.fixture(scope="module")
def sbom() -> Any:
    spec = importlib.util.spec_from_file_location("sbom", ROOT / "deploy" / "sbom.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["image", "services"])
def bill(sbom: Any, request: pytest.FixtureRequest) -> Json:
    bom: Json = sbom.bill_of_materials(request.param)
    return bom


def versions(bill: Json) -> dict[str, str]:
    return {canonicalize_name(component["name"]): component["version"] for component in bill["components"]}


def test_what_is_added_to_the_library_s_bill_is_valid(sbom: Any, bill: Json) -> None:
    """Weights, free-text licences, absent packages; `make sbom` validates the whole, which takes longer."""
    names = {"uharfbuzz", "triton", "nvidia-cublas"}
    added = [part for part in bill["components"] if "hashes" in part or part["name"] in names]
    assert len(added) == 6
    sbom.validate(bill | {"components": added, "dependencies": []})


def test_invalid_bill_is_refused(sbom: Any, bill: Json) -> None:
    with pytest.raises(ValueError, match="type"):
        sbom.validate(bill | {"components": [{"name": "without a type"}], "dependencies": []})


@pytest.mark.parametrize("name", ["image", "services"])
def test_bill_lists_exactly_the_packages_of_the_lock_file(sbom: Any, name: str) -> None:
    bill = sbom.bill_of_materials(name)
    listed = {package: version for package, version in versions(bill).items() if package not in MODELS}
    assert listed == locked_versions(sbom.LOCKS[name].read_text())


def test_bill_says_what_needs_what(bill: Json) -> None:
    refs = {part["bom-ref"]: part["name"] for part in bill["components"]}
    needs = {refs[entry["ref"]]: {refs[ref] for ref in entry["dependsOn"]} for entry in bill["dependencies"]}
    assert {"numpy", "pydicom", "pillow"} <= needs["highdicom"]


def test_bill_lists_the_weights_with_their_checksum(bill: Json) -> None:
    hashes = {part["name"]: part["hashes"][0]["content"] for part in bill["components"] if "hashes" in part}
    for name in MODELS:
        assert hashes[name] == json.loads((ROOT / "models" / name / "model.json").read_text())["sha256"]


def test_no_licence_is_a_surprise(sbom: Any, bill: Json) -> None:
    assert not sbom.surprises(bill)


@pytest.mark.parametrize(
    "licences",
    [
        [{"expression": "GPL-3.0-only"}],
        [{"expression": "MIT AND AGPL-3.0-or-later"}],
        [{"license": {"name": "License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)"}}],
        [{"license": {"id": "CC-BY-NC-4.0"}}],
        [],
    ],
)
def test_copyleft_and_missing_licences_are_found_out(sbom: Any, licences: list[Json]) -> None:
    assert sbom.surprises({"components": [{"name": "new", "licenses": licences}]})
