"""Bill of materials as CycloneDX: ``python deploy/sbom.py image > sbom.json``, or ``services``.

It lists every package of a lock file in the locked version, with the licence that the package declares in
the environment of this interpreter, and the weights.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {
    "image": ROOT / "requirements.txt",
    "services": ROOT / "deploy" / "orthanc" / "requirements-services.txt",
}
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

LICENCES = {"triton": "MIT"}
"""Licences of packages that a torch for CPUs, as development may have it, does not bring along."""


def bill_of_materials(name: str) -> Json:
    """Return all components of one of ``LOCKS`` in CycloneDX 1.6."""
    bom, versions = environment(), locked(LOCKS[name])
    installed = {canonicalize_name(part["name"]): part for part in bom["components"]}
    bom["components"] = [component(one, versions[one], installed.get(one)) for one in versions]
    refs = {part["bom-ref"] for part in bom["components"]}
    bom["dependencies"] = [
        entry | {"dependsOn": [ref for ref in entry.get("dependsOn", []) if ref in refs]}
        for entry in bom["dependencies"]
        if entry["ref"] in refs
    ]
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


def locked(lock: Path) -> dict[str, str]:
    """Return the normalised names and the versions of all packages of a lock file."""
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", lock.read_text(encoding="utf-8"), re.MULTILINE))


def component(name: str, version: str, installed: Json | None) -> Json:
    """Return a package in the locked version, described as the installed one is.

    A licence in free text is filled in where a package declares none in a form that CycloneDX knows.
    """
    part = installed or {"type": "library", "bom-ref": name, "name": name}
    part = part | {"version": version, "purl": f"pkg:pypi/{name}@{version}"}
    declared = metadata(name).get("License") if installed else licence_of_absent(name)
    if "licenses" not in part and declared:
        part["licenses"] = [{"license": {"name": declared.splitlines()[0]}}]
    return part


def licence_of_absent(name: str) -> str | None:
    """Return the licence of a package that only a torch for GPUs brings along."""
    return "NVIDIA Proprietary Software" if name.startswith(READ_PREFIXES) else LICENCES.get(name)


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


def licence(part: Json) -> str:
    """Everything that a component declares as its licence."""
    entries = part.get("licenses", [])
    return "; ".join(
        entry.get("expression") or entry["license"].get("id") or entry["license"]["name"] for entry in entries
    )


def surprises(bom: Json) -> list[str]:
    """Components without a licence, or under one that nobody has read yet."""
    return [
        f"{part['name']}: {licence(part) or 'no licence'}"
        for part in bom["components"]
        if (not licence(part) or COPYLEFT.search(licence(part)))
        and canonicalize_name(part["name"]) not in READ
        and not part["name"].startswith(READ_PREFIXES)
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
    (name,) = sys.argv[1:]
    bom = bill_of_materials(name)
    validate(bom)
    print(json.dumps(bom, indent=2, sort_keys=True))
    found = surprises(bom)
    for line in found:
        print(f"licence to read: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
