"""app -> operators -> lungct, and inside lungct from the top layer down."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.python_imports import imports

ROOT = Path(__file__).resolve().parent.parent

LAYERS = (
    {"errors", "file_names", "records"},
    {"settings", "geometry", "journal", "output", "preprocessing", "networks"},
    {"dicom_read", "inference"},
    {"anatomy"},
    {"findings"},
    {"report"},
    {"dicom_write"},
    {"delivery"},
)
"""Parts of lungct from the ground up; a part imports from its own layer and from those below."""

FORBIDDEN = {
    "lungct": {
        "monai.deploy",
        "holoscan",
        "operators",
        "app",
        "training",
        "phantom",
        "evaluation",
        "gateway",
    },
    "operators": {"app", "application", "training", "phantom", "evaluation", "gateway"},
    "app": {"training", "phantom", "evaluation", "gateway"},
    "gateway": {
        "monai.deploy",
        "holoscan",
        "operators",
        "app",
        "application",
        "training",
        "phantom",
        "evaluation",
    },
    "phantom": {"app", "application", "operators", "training"},
    "benchmarks": {"app", "application", "operators", "training"},
    "training": {"app", "application", "operators"},
    "evaluation": {"app", "application", "operators"},
}


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).glob("**/*.py") if not path.is_symlink())


def is_part_of(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_import_only_what_lies_below(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imports(path)
        if any(is_part_of(name, forbidden) for forbidden in FORBIDDEN[package])
    ]
    assert not found


def test_every_part_of_lungct_has_a_layer() -> None:
    parts = {path.relative_to(ROOT / "lungct").parts[0].removesuffix(".py") for path in modules("lungct")}
    assert parts - {"__init__"} <= set().union(*LAYERS)


def test_lungct_layers_import_only_downwards() -> None:
    level = {part: i for i, layer in enumerate(LAYERS) for part in layer}
    found = []
    for path in modules("lungct"):
        part = path.relative_to(ROOT / "lungct").parts[0].removesuffix(".py")
        for name in imports(path):
            other = name.split(".")[1] if name.startswith("lungct.") else None
            if other and part in level and level[other] > level[part]:
                found.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not found
