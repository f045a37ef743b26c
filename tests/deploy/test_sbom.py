"""The bill of materials: complete, nothing of development in it, valid, no licence that nobody has read."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from tests.application_runs import ROOT

Json = dict[str, Any]


@pytest.fixture(scope="module")
def sbom() -> Any:
    spec = importlib.util.spec_from_file_location("sbom", ROOT / "deploy" / "sbom.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bill(sbom: Any) -> Json:
    bom: Json = sbom.bill_of_materials()
    return bom


def versions(bill: Json) -> dict[str, str]:
    return {canonicalize_name(component["name"]): component["version"] for component in bill["components"]}


def test_what_is_added_to_the_library_s_bill_is_valid(sbom: Any, bill: Json) -> None:
    """Weights and licences in free text; `make sbom` validates the whole, which takes longer."""
    added = [
        part for part in bill["components"] if "hashes" in part or part["name"] in {"monai", "uharfbuzz"}
    ]
    assert len(added) == 5
    sbom.validate(bill | {"components": added, "dependencies": []})


def test_invalid_bill_is_refused(sbom: Any, bill: Json) -> None:
    with pytest.raises(ValueError, match="type"):
        sbom.validate(bill | {"components": [{"name": "without a type"}], "dependencies": []})


def test_bill_lists_every_pinned_package_in_its_version(sbom: Any, bill: Json) -> None:
    listed = versions(bill)
    for requirement in sbom.pinned():
        assert requirement.specifier.contains(listed[canonicalize_name(requirement.name)]), requirement


def test_bill_lists_what_they_need_in_turn_and_no_tools_of_development(bill: Json) -> None:
    assert {"grpcio", "cupy-cuda13x", "fonttools"} <= versions(bill).keys()
    assert (
        not {"pytest", "ruff", "mypy", "hypothesis", "simpleitk", "hera", "scikit-learn"}
        & versions(bill).keys()
    )


def test_bill_lists_the_weights_with_their_checksum(bill: Json) -> None:
    hashes = {part["name"]: part["hashes"][0]["content"] for part in bill["components"] if "hashes" in part}
    for name in ("classifier", "lungs", "opacity"):
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
