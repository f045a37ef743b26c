"""The build context that the packager sends to Docker, kept by a recorder and laid out as a file system."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pathspec

ROOT = Path(__file__).resolve().parents[2]
RECORDER = Path(__file__).parent / "recorder"
PACKAGER = ROOT / ".venv-map" / ".installed"
PACKAGED = ("app", "app.yaml", "lungct", "Makefile", "models", "operators", "requirements.txt")


@dataclass(frozen=True)
class Image:
    """What the ``COPY`` lines of the Dockerfile make, and the variables of its ``ENV`` lines."""

    root: Path
    environment: dict[str, str]


def copy_source(folder: Path) -> Path:
    """A copy of everything that packaging reads, for tests that change it."""
    folder.mkdir()
    for name in PACKAGED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True)
        else:
            shutil.copy2(source, folder / name)
    (folder / ".venv-map").symlink_to(ROOT / ".venv-map")
    return folder


def record(source: Path, context: Path) -> Path:
    """Run ``make map`` with the recorder for Docker, which leaves the build context in ``context``."""
    variables = os.environ | {
        "PATH": f"{RECORDER}:{os.environ['PATH']}",
        "RECORDED_CONTEXT": str(context),
        "HOME": str(context.parent),
    }
    make = ["make", "--assume-old=.venv-map/.installed", "map", f"MAP_OPTIONS=--source {RECORDER}"]
    subprocess.run(make, cwd=source, env=variables, check=True)  # noqa: S603
    return context


def lay_out(context: Path, root: Path) -> Image:
    """Follow the Dockerfile as far as it copies files and sets variables.

    Args:
        context: recorded build context.
        root: folder that becomes the root of the image.
    """
    ignored = pathspec.GitIgnoreSpec.from_lines((context / ".dockerignore").read_text().splitlines())
    environment: dict[str, str] = {}
    for line in (context / "Dockerfile").read_text().splitlines():
        if copy := re.fullmatch(r"COPY \./(\S+)\s+(/\S+)", line):
            _copy(context, copy[1], root / copy[2].lstrip("/"), ignored)
        elif line.startswith("ENV HOLOSCAN_"):
            environment |= [shlex.split(line)[1].split("=", 1)]
    for folder in ("INPUT", "OUTPUT"):
        (root / environment[f"HOLOSCAN_{folder}_PATH"].lstrip("/")).mkdir(parents=True)
    (root / "var/holoscan/tools").chmod(0o755)
    return Image(root, environment)


def _copy(context: Path, name: str, target: Path, ignored: pathspec.GitIgnoreSpec) -> None:
    source = context / name
    files = [path for path in source.rglob("*") if path.is_file()] if source.is_dir() else [source]
    for file in files:
        if not ignored.match_file(file.relative_to(context)):
            place = target / file.relative_to(source) if source.is_dir() else target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
