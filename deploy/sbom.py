"""Bill of materials of the image, as CycloneDX: ``python deploy/sbom.py > sbom.json``.

It lists what ``requirements.txt`` brings into the environment of this interpreter, with licences, and the
weights. The image gets the same from the same file; wheels for CUDA, which torch brings along on PyPI, are
listed where they are installed here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import metadata, requires
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
Json = dict[str, Any]

COPYLEFT = re.compile(
    r"GPL|GNU|\bMPL|Mozilla|\bEPL|EUPL|CDDL|\bOSL|SSPL|BUSL|\bNC\b|\bSA\b|non-commercial|Proprietary|EULA",
    re.IGNORECASE,
)
"""Licences that ask more than to be named; somebody must have read them."""

READ = {
    "certifi": "MPL-2.0: root certificates, unmodified",
    "connected-components-3d": "LGPL-3.0-or-later: a library of its own, unmodified, can be exchanged",
    "fpdf2": "LGPL-3.0-only: a library of its own, unmodified, can be exchanged",
    "tqdm": "MPL-2.0 AND MIT: unmodified",
    "classifier": "weights: non-commercial, see the model card",
    "lungs": "weights: non-commercial, see the model card",
    "opacity": "weights: non-commercial, see the model card",
}
"""Components under such licences, and why they may be in the image."""

READ_PREFIXES = ("nvidia-", "cuda-")
"""NVIDIA's libraries that torch brings along: proprietary, may be passed on as part of an application."""


def bill_of_materials() -> Json:
    """All components of the image in CycloneDX 1.6."""
    bom = environment()
    names = needed(pinned())
    bom["components"] = [part for part in bom["components"] if canonicalize_name(part["name"]) in names]
    refs = {component["bom-ref"] for component in bom["components"]}
    bom["dependencies"] = [
        entry | {"dependsOn": [ref for ref in entry.get("dependsOn", []) if ref in refs]}
        for entry in bom["dependencies"]
        if entry["ref"] in refs
    ]
    for component in bom["components"]:
        declare_licence(component)
    bom["components"] += weights()
    return bom


def environment() -> Json:
    """The bill of everything that is installed beside this interpreter."""
    options = [
        "environment",
        "--output-reproducible",
        "--no-validate",
        "--of",
        "JSON",
        "-o",
        "-",
        sys.executable,
    ]
    command = [sys.executable, "-m", "cyclonedx_py", *options]
    bom: Json = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603
    return bom


def pinned() -> Iterator[Requirement]:
    """What ``requirements.txt`` asks for."""
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            yield Requirement(line)


def needed(requirements: Iterable[Requirement]) -> set[str]:
    """Normalised names of the packages that the requirements bring along, themselves included.

    The dependencies in CycloneDX do not serve: they hold those of extras that nobody asked for.
    """
    names: set[str] = set()
    asked: set[tuple[str, frozenset[str]]] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) not in asked:
            asked.add((name, extras))
            names.add(name)
            waiting += _needed_by(name, extras)
    return names


def _needed_by(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    for requirement in map(Requirement, requires(name) or ()):
        environments = [{"extra": extra} for extra in extras or {""}]
        if requirement.marker is None or any(map(requirement.marker.evaluate, environments)):
            yield requirement


def declare_licence(component: Json) -> None:
    """Fill in the free text of packages that declare no licence in a form that CycloneDX has a field for."""
    text = metadata(component["name"]).get("License")
    if "licenses" not in component and text:
        component["licenses"] = [{"license": {"name": text.splitlines()[0]}}]


def weights() -> Iterator[Json]:
    """The networks' weights, with the checksum that the application verifies."""
    for file in sorted((ROOT / "models").glob("*/model.json")):
        model = json.loads(file.read_text(encoding="utf-8"))
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"models/{file.parent.name}",
            "name": file.parent.name,
            "version": model["version"],
            "hashes": [{"alg": "SHA-256", "content": model["sha256"]}],
            "licenses": [{"license": {"name": model["license"]}}],
        }


def licence(component: Json) -> str:
    """Everything that a component declares as its licence."""
    entries = component.get("licenses", [])
    return "; ".join(
        entry.get("expression") or entry["license"].get("id") or entry["license"]["name"] for entry in entries
    )


def surprises(bom: Json) -> list[str]:
    """Components without a licence, or under one that nobody has read yet."""
    return [
        f"{component['name']}: {licence(component) or 'no licence'}"
        for component in bom["components"]
        if (not licence(component) or COPYLEFT.search(licence(component)))
        and canonicalize_name(component["name"]) not in READ
        and not component["name"].startswith(READ_PREFIXES)
    ]


def validate(bom: Json) -> None:
    """Compare with the schema of CycloneDX.

    Raises:
        ValueError: it does not fit.
    """
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)):
        raise ValueError(str(error))


def main() -> int:
    """Print the bill; returns 1 where a licence needs somebody who reads it."""
    bom = bill_of_materials()
    validate(bom)
    print(json.dumps(bom, indent=2, sort_keys=True))
    found = surprises(bom)
    for line in found:
        print(f"licence to read: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
