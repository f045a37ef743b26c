"""The wheel in an environment that holds nothing else: it installs, imports and analyses a phantom."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lungct_research.evaluation.phantom import compare
from tests.application_runs import ROOT, made_once

PACKAGES = ("lungct", "lungct_services", "lungct_research")
IMPORT_ALL = """
import importlib, pkgutil, sys
for package in sys.argv[1:]:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        try:
            importlib.import_module(module.name)
        except Exception as error:
            print(module.name, repr(error))
"""


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it, used from a folder outside the source tree."""

    folder: Path
    wheel: Path

    def pip_install(self, extras: str = "") -> None:
        self.run("pip", "install", "--quiet", "--no-compile", f"lungct{extras} @ {self.wheel.as_uri()}")

    def run(self, program: str, *arguments: object) -> str:
        """Run a program of the environment; returns what it prints.

        Raises:
            AssertionError: it fails.
        """
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(  # noqa: S603
            [self.folder / "venv/bin" / program, *map(str, arguments)],
            cwd=self.folder,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def install(folder: Path) -> Installed:
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        folder / "dist",
        ROOT,
    ]
    subprocess.run(build, check=True)  # noqa: S603
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)  # noqa: S603
    (wheel,) = (folder / "dist").glob("lungct-*.whl")
    installed = Installed(folder, wheel)
    installed.pip_install()
    return installed


@pytest.fixture(scope="module")
def installed(common_folder: Path) -> Installed:
    return made_once(common_folder / "wheel", install)


@pytest.fixture(scope="module")
def analysed(installed: Installed) -> str:
    phantom = ("--seed", 1, "--pattern", "covid", "--spacing", 2.5, 2.0, 2.0, "--truth", "truth.json")
    installed.run("lungct", "phantom", "study", *phantom)
    return installed.run("lungct", "analyse", "study", "-o", "report")


def test_base_brings_neither_holoscan_nor_the_sdk(installed: Installed) -> None:
    names = {package["name"] for package in json.loads(installed.run("pip", "list", "--format", "json"))}
    assert {"lungct", "torch", "highdicom"} <= names
    assert not {name for name in names if name.startswith(("holoscan", "monai", "nvidia-cuda-runtime"))}


def test_doctor_finds_nothing_wrong(installed: Installed) -> None:
    installed.run("lungct", "doctor")


def test_phantom_is_analysed_outside_the_source_tree(installed: Installed, analysed: str) -> None:
    truth, result = (
        json.loads((installed.folder / name).read_text()) for name in ("truth.json", "report/result.json")
    )
    assert not [one for one in compare(truth, result) if not one.holds]
    assert analysed.splitlines()[-1] == "Report: report/report.pdf"


def test_every_module_can_be_imported_with_the_extras(installed: Installed, analysed: str) -> None:
    assert analysed, "with the base alone first"
    installed.pip_install("[services,research]")
    assert installed.run("python", "-c", IMPORT_ALL, *PACKAGES) == ""
