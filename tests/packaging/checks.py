"""What can be wrong with an image before anybody starts it."""

from __future__ import annotations

import json
import re
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

NOT_IN_IMAGE = {"SimpleITK"}
"""Reads volume files for ``lungct analyse``, which says what to install; the image reads DICOM only."""

SHA256 = re.compile("sha256:[0-9a-f]{64}")
SUFFIXES = {".py", ".ttf", ".txt", ".json", ".j2", ".md", ".safetensors", ".yaml", ""}


def faults(root: Path) -> Iterator[str]:
    """One line for everything that is wrong with the image whose file system is ``root``."""
    yield from _manifest_faults(root, "app.json", APPLICATION_MANIFEST)
    yield from _manifest_faults(root, "pkg.json", PACKAGE_MANIFEST)
    requirements = (root / "tmp/requirements.txt").read_text()
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


def locked(text: str) -> dict[str, list[str]]:
    """The requirements of a lock file as they stand there, with the hashes of each."""
    requirements = {}
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            requirement, *hashes = line.split("--hash=")
            requirements[requirement.strip()] = [one.strip() for one in hashes]
    return requirements


def versions(text: str) -> dict[str, str]:
    """Normalised names and versions that a lock file pins."""
    return dict(pin for line in locked(text) if (pin := _pinned(line)))


def lock_faults(text: str) -> Iterator[str]:
    """One line for everything that a lock file leaves open."""
    for requirement, hashes in locked(text).items():
        if not _pinned(requirement):
            yield f"requirements.txt: not pinned: {requirement}"
        if not hashes or not all(SHA256.fullmatch(one) for one in hashes):
            yield f"requirements.txt: without hash: {requirement}"


def _requirement_faults(text: str) -> Iterator[str]:
    yield from lock_faults(text)
    pinned = versions(text)
    if pinned.get("pip") != "24.0":
        yield "requirements.txt: pip is not 24.0"
    if not pinned.get("holoscan-cu13", "").startswith(CPU_HOLOSCAN):
        yield f"requirements.txt: holoscan-cu13 is not {CPU_HOLOSCAN}x"


def _import_faults(app: Path, requirements: str) -> Iterator[str]:
    """Every import must be of the standard library, of a file of the image or of a pinned package."""
    pinned = versions(requirements)
    distributions = _distributions()
    own = {path.stem for path in app.iterdir()}
    for file in app.rglob("*.py"):
        for name in sorted(imports(file)):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top in NOT_IN_IMAGE:
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
    """Whether a name is a module of ours, or something that stands in the text of a module of ours."""
    *parents, last = name.split(".")
    return _module_file(app, [*parents, last]) is not None or (
        (parent := _module_file(app, parents)) is not None and last in parent.read_text()
    )


def _module_file(app: Path, names: list[str]) -> Path | None:
    place = app.joinpath(*names)
    files = (place / "__init__.py", app.joinpath(*names[:-1], f"{names[-1]}.py")) if names else ()
    return next((file for file in files if file.is_file()), None)


def _stranger_faults(root: Path) -> Iterator[str]:
    for folder, allowed in CONTENT.items():
        for stranger in {path.name for path in (root / folder).iterdir()} - allowed:
            yield f"does not belong into the image: /{folder}/{stranger}"
    for file in root.rglob("*"):
        if file.is_file() and file.suffix not in SUFFIXES:
            yield f"does not belong into the image: /{file.relative_to(root)}"
