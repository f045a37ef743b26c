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
"""Licences that ask for more than to be named; somebody must have read them."""

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

ABSENT = {"triton": "MIT"}
"""Licences of packages that only a torch for GPUs brings along."""

READ_PREFIXES = ("nvidia-", "cuda-")
"""NVIDIA's libraries that torch brings along: proprietary, may be passed on as part of an application."""


def bill_of_materials(name: str) -> Json:
    """Return all components of one of ``LOCKS`` in CycloneDX 1.6.

    The library describes everything that is installed; what the lock file does not name is left out.
    """
    options = ["environment", "--output-reproducible", "--no-validate", "--of", "JSON", "-o", "-"]
    command = [sys.executable, "-m", "cyclonedx_py", *options, sys.executable]
    bom: Json = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603
    installed = {canonicalize_name(part["name"]): part for part in bom["components"]}
    locked = re.findall(r"^([a-z0-9-]+)==([^ ;]+)", LOCKS[name].read_text(encoding="utf-8"), re.MULTILINE)
    bom["components"] = [component(package, version, installed.get(package)) for package, version in locked]
    refs = {part["bom-ref"] for part in bom["components"]}
    bom["dependencies"] = [
        entry | {"dependsOn": [ref for ref in entry.get("dependsOn", []) if ref in refs]}
        for entry in bom["dependencies"]
        if entry["ref"] in refs
    ]
    bom["components"] += weights()
    return bom


def component(name: str, version: str, installed: Json | None) -> Json:
    """Return a package in the locked version, described as the installed one is.

    A licence in free text is filled in where a package declares none in a form that CycloneDX knows.
    """
    part = installed or {"type": "library", "bom-ref": name, "name": name}
    part = part | {"version": version, "purl": f"pkg:pypi/{name}@{version}"}
    if installed:
        declared = metadata(name).get("License")
    else:
        declared = "NVIDIA Proprietary Software" if name.startswith(READ_PREFIXES) else ABSENT.get(name)
    if "licenses" not in part and declared:
        part["licenses"] = [{"license": {"name": declared.splitlines()[0]}}]
    return part


def weights() -> Iterator[Json]:
    """Yield the weights of the networks, with the checksum that the application verifies."""
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


def surprises(bom: Json) -> list[str]:
    """List components without a licence, or under one that nobody has read yet."""
    found = []
    for part in bom["components"]:
        declared = "; ".join(
            entry.get("expression") or entry["license"].get("id") or entry["license"]["name"]
            for entry in part.get("licenses", [])
        )
        is_read = canonicalize_name(part["name"]) in READ or part["name"].startswith(READ_PREFIXES)
        if not is_read and (not declared or COPYLEFT.search(declared)):
            found.append(f"{part['name']}: {declared or 'no licence'}")
    return found


def validate(bom: Json) -> None:
    """Compare with the schema of CycloneDX.

    Raises:
        ValueError: the bill does not fit.
    """
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)):
        raise ValueError(str(error))


def main() -> int:
    """Print the bill; return 1 where a licence needs somebody who reads it."""
    bom = bill_of_materials(sys.argv[1])
    validate(bom)
    print(json.dumps(bom, indent=2, sort_keys=True))
    found = surprises(bom)
    for line in found:
        print(f"licence to read: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
