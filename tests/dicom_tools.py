"""Other people's DICOM software, as functions; tests that need it are skipped where it is not installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

PACKAGES = {
    "dciodvfy": "dicom3tools",
    "dcentvfy": "dicom3tools",
    "dcmdump": "dcmtk",
    "dsrdump": "dcmtk",
    "storescu": "dcmtk",
    "DicomSRValidator": "pixelmed-apps",
    "Orthanc": "orthanc orthanc-dicomweb",
    "chromium": "chromium",
}
"""Debian packages of the commands."""

_XML_LIMITS = ("xpathTotalOpLimit", "xpathExprGrpLimit", "xpathExprOpLimit")
_JAVA_OPTIONS = " ".join(
    ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", *(f"-Djdk.xml.{limit}=0" for limit in _XML_LIMITS)]
)
"""Templates are longer than what Java thinks wise; one file does not repay thorough compilation."""


def command(name: str) -> str:
    """The path of a command, or the test is skipped."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install {PACKAGES[name]}")
    return path


def complaints(name: str, *arguments: str | Path) -> list[str]:
    """What a tool says, line by line."""
    line = [command(name), *map(str, arguments)]
    environment = {**os.environ, "JAVA_TOOL_OPTIONS": _JAVA_OPTIONS}
    process = subprocess.run(line, capture_output=True, env=environment, check=False)  # noqa: S603
    lines = (process.stderr + process.stdout).decode(errors="replace").splitlines()
    if process.returncode and not lines:
        lines = [f"Error - {name} ended with exit code {process.returncode}"]
    return lines


def errors(lines: Iterable[str]) -> list[str]:
    """The errors among them: of dicom3tools and PixelMed ``Error``, of dcmtk ``E:`` and ``F:``."""
    return [line for line in lines if re.match(r"(Error|E:|F:)", line)]


def warnings(lines: Iterable[str]) -> list[str]:
    """The warnings among them."""
    return [line for line in lines if re.match(r"(Warning|W:)", line)]
