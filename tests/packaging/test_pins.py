"""One version of the project; lock files that hold what it asks for and all that is needed in turn."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lungct
from tests.application_runs import ROOT
from tests.packaging.checks import lock_faults, versions

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {
    "image": ROOT / "requirements.txt",
    "services": ROOT / "deploy" / "orthanc" / "requirements-services.txt",
}
IMAGE = {"python_version": "3.12", "python_full_version": "3.12.3", "extra": ""}
"""What decides in the image which requirements apply; the rest is as on the machine of the tests."""


def asked_for(extra: str) -> list[Requirement]:
    extras: dict[str, list[str]] = PROJECT["optional-dependencies"]
    return [Requirement(line) for line in PROJECT["dependencies"] + extras[extra]]


def needed_in_turn(extra: str) -> Iterator[Requirement]:
    """What the requirements of an extra need in turn, as far as it is installed here."""
    waiting, seen = asked_for(extra), set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, *sorted(requirement.extras)) in seen:
            continue
        seen.add((name, *sorted(requirement.extras)))
        yield requirement
        for needed in map(Requirement, requires(name) or ()):
            environments = [IMAGE | {"extra": one} for one in requirement.extras or {""}]
            if needed.marker is None or any(map(needed.marker.evaluate, environments)):
                waiting.append(needed)


@pytest.mark.parametrize("extra", LOCKS)
def test_lock_pins_everything_with_hashes(extra: str) -> None:
    assert not list(lock_faults(LOCKS[extra].read_text()))


@pytest.mark.parametrize("extra", LOCKS)
def test_lock_holds_what_is_asked_for_and_what_that_needs(extra: str) -> None:
    locked = versions(LOCKS[extra].read_text())
    wrong = [
        str(requirement)
        for requirement in needed_in_turn(extra)
        if not requirement.specifier.contains(locked.get(canonicalize_name(requirement.name), "0"), True)
    ]
    assert not wrong, f"make lock: {wrong}"


def test_services_run_on_the_versions_of_the_image() -> None:
    image, services = (versions(file.read_text()) for file in LOCKS.values())
    assert not {name for name in image.keys() & services.keys() if image[name] != services[name]}


def test_base_installs_no_holoscan_no_sdk_and_no_pip() -> None:
    base = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert not base & {"holoscan-cu13", "monai-deploy-app-sdk", "pip"}


def test_manifest_of_the_image_has_the_version_of_the_project() -> None:
    manifest = yaml.safe_load((ROOT / "app.yaml").read_text())["application"]
    assert manifest["version"] == PROJECT["version"]


def test_installed_package_has_the_version_of_the_project() -> None:
    assert lungct.__version__ == PROJECT["version"], "make setup"


@pytest.mark.parametrize(("manifest", "expected"), [({"version": "7.8.9"}, "7.8.9"), (None, "0+unknown")])
def test_version_where_the_package_is_not_installed(
    manifest: dict[str, str] | None, expected: str, tmp_path: Path
) -> None:
    """In the image: a folder with the package in it, and a manifest beside."""
    (tmp_path / "lungct").mkdir()
    shutil.copy2(ROOT / "lungct" / "__init__.py", tmp_path / "lungct")
    (tmp_path / "app.json").write_text(json.dumps(manifest))
    variables = {"HOLOSCAN_APP_MANIFEST_PATH": str(tmp_path / "app.json")} if manifest else {}
    code = "import sys; sys.path.insert(0, '.'); import lungct; print(lungct.__version__)"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-I", "-S", "-c", code],
        cwd=tmp_path,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{expected}\n"
