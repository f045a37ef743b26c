"""Which package may import which, and the layers inside ``lungct`` and ``lungct_research``."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from tests.python_imports import imports

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "app": {"app", "operators", "lungct"},
    "operators": {"operators", "lungct"},
    "lungct": {"lungct"},
    "lungct_services": {"lungct_services", "lungct"},
    "lungct_research": {"lungct_research", "lungct"},
}
"""Our packages, and those of ours that each may import."""

MODULES_OF_APP = {"application", "startup"}
"""``app`` is the first entry of ``sys.path`` in the image, so its modules have bare names."""

KNOWS_HOLOSCAN = {"app", "operators"}
HOLOSCAN = {"holoscan", "monai.deploy"}
COMPARES_WITH_HOLOSCAN = {ROOT / "lungct_research" / "benchmarks" / "instead.py"}
"""Measures the operators that MONAI Deploy brings beside our own reading."""

LAYERS = {
    "lungct": (
        {"decoding", "errors", "file_names", "records", "settings"},
        {"journal", "networks", "dicom_read"},
        {"anatomy", "process"},
        {"findings"},
        {"report"},
        {"dicom_write", "run"},
        {"delivery"},
        {"volume_files"},
        {"pipeline"},
        {"command"},
    ),
    "lungct_services": ({"settings"}, {"jobs"}, {"runners", "deidentify"}, {"gateway"}),
    "lungct_research": ({"datasets"}, {"synthesis"}, {"evaluation"}, {"training"}, {"benchmarks"}),
}
"""Parts of a package from the ground up; a part imports from its own layer and from those below."""


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).glob("**/*.py") if not path.is_symlink())


def package_of(name: str) -> str:
    first = name.split(".", maxsplit=1)[0]
    return "app" if first in MODULES_OF_APP else first


def part_of(name: str) -> str:
    """The part of a package that a dotted module name lies in; empty for the package itself."""
    return [*name.split("."), ""][1]


@pytest.mark.parametrize("other", MAY_IMPORT)
@pytest.mark.parametrize("package", MAY_IMPORT)
def test_package_imports_only_what_it_may(package: str, other: str) -> None:
    if other in MAY_IMPORT[package]:
        return
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imports(path)
        if package_of(name) == other
    ]
    assert not found


@pytest.mark.parametrize("package", sorted(MAY_IMPORT.keys() - KNOWS_HOLOSCAN))
def test_package_runs_without_holoscan(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        if path not in COMPARES_WITH_HOLOSCAN
        for name in imports(path)
        if any(name == library or name.startswith(f"{library}.") for library in HOLOSCAN)
    ]
    assert not found


@pytest.mark.parametrize("package", LAYERS)
def test_every_part_has_a_layer(package: str) -> None:
    parts = {path.relative_to(ROOT / package).parts[0].removesuffix(".py") for path in modules(package)}
    assert parts - {"__init__", "__main__"} == set(chain.from_iterable(LAYERS[package]))


@pytest.mark.parametrize("package", LAYERS)
def test_layers_import_only_downwards(package: str) -> None:
    level = {part: i for i, layer in enumerate(LAYERS[package]) for part in layer}
    found = []
    for path in modules(package):
        part = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        for name in imports(path):
            other = part_of(name) if package_of(name) == package else ""
            if other and part in level and level[other] > level[part]:
                found.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not found
