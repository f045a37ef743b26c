"""What can be wrong with an image before anybody starts it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import jsonschema
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tests.packaging.manifests import APPLICATION_MANIFEST, PACKAGE_MANIFEST
from tests.python_imports import imports

CPU_HOLOSCAN = "4."
"""Major version of Holoscan that starts without a GPU driver."""

CONTENT = {
    "opt/holoscan/app": {
        "__main__.py",
        "application.py",
        "startup.py",
        "requirements.txt",
        "operators",
        "lungct",
    },
    "opt/holoscan/models": {"classifier", "lungs", "opacity"},
    "etc/holoscan": {"app.json", "pkg.json"},
    "var/holoscan": {"app.yaml", "tools", "input", "output"},
}
"""All that the packager may put where the application lives."""

SUFFIXES = {".py", ".ttf", ".txt", ".json", ".j2", ".md", ".safetensors", ".yaml", ""}


def faults(root: Path) -> Iterator[str]:
    """One line for everything that is wrong with the image whose file system is ``root``."""
    yield from _manifest_faults(root, "app.json", APPLICATION_MANIFEST)
    yield from _manifest_faults(root, "pkg.json", PACKAGE_MANIFEST)
    requirements = (root / "tmp/requirements.txt").read_text().splitlines()
    yield from _requirement_faults(requirements)
    yield from _import_faults(root / "opt/holoscan/app", requirements)
    yield from _stranger_faults(root)


def _manifest_faults(root: Path, name: str, schema: dict[str, object]) -> Iterator[str]:
    manifest = json.loads((root / "etc/holoscan" / name).read_text())
    for error in jsonschema.Draft202012Validator(schema).iter_errors(manifest):
        yield f"{name}: {error.json_path}: {error.message}"
    for model, folder in manifest.get("models", {}).items():
        if not (root / folder.lstrip("/") / "model.safetensors").is_file():
            yield f"{name}: model {model} has no weights"


def _pinned(line: str) -> tuple[str, str] | None:
    """Name and version of a requirement that allows exactly one version."""
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return None
    specifiers = list(requirement.specifier)
    if len(specifiers) != 1 or specifiers[0].operator != "==" or specifiers[0].version.endswith("*"):
        return None
    return canonicalize_name(requirement.name), specifiers[0].version


def _requirements(lines: list[str]) -> list[str]:
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _requirement_faults(lines: list[str]) -> Iterator[str]:
    versions: dict[str, str] = {}
    for line in _requirements(lines):
        if pin := _pinned(line):
            versions |= [pin]
        else:
            yield f"requirements.txt: not pinned: {line}"
    if versions.get("pip") != "24.0":
        yield "requirements.txt: pip is not 24.0"
    if not versions.get("holoscan-cu13", "").startswith(CPU_HOLOSCAN):
        yield f"requirements.txt: holoscan-cu13 is not {CPU_HOLOSCAN}x"


def _import_faults(app: Path, requirements: list[str]) -> Iterator[str]:
    """Every import must be of the standard library, of a file of the image or of a pinned package."""
    pinned = {pin[0] for line in _requirements(requirements) if (pin := _pinned(line))}
    distributions = _distributions()
    own = {path.stem for path in app.iterdir()}
    for file in app.rglob("*.py"):
        for name in sorted(imports(file)):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names:
                continue
            if top in own or top in {"lungct", "operators"}:
                found = _is_file_of(app, name)
            else:
                found = any(canonicalize_name(package) in pinned for package in distributions.get(top, ()))
            if not found:
                yield f"{file.relative_to(app)}: nothing in the image provides {name}"


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def _is_file_of(app: Path, name: str) -> bool:
    path = app.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _stranger_faults(root: Path) -> Iterator[str]:
    for folder, allowed in CONTENT.items():
        for stranger in {path.name for path in (root / folder).iterdir()} - allowed:
            yield f"does not belong into the image: /{folder}/{stranger}"
    for file in root.rglob("*"):
        if file.is_file() and file.suffix not in SUFFIXES:
            yield f"does not belong into the image: /{file.relative_to(root)}"
