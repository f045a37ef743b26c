"""The sub-command ``lungct doctor``: whether this machine can analyse a chest, and what to do if not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import click

from lungct.command.options import any_path, models_option

NEEDED_GIB = 8
"""Memory for an analysis of 300 slices, as in the README."""

GIB = 1024**3
PYTHONS = ((3, 11), (3, 12))
"""Versions that the project is tested on."""

CPU_FLAGS = {
    "avx2": "without it the networks are slow: take another machine",
    "avx512f": "the networks are faster with it",
    "avx512_bf16": "the networks are faster with it",
}
"""Abilities that torch uses, as Linux names them."""

FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DroidSansFallback.ttf")
EXTRAS = {"services": "structlog", "research": "monai"}
"""A module that only this extra installs."""


class Check(NamedTuple):
    """One line of the answer; with a remedy it is WRONG if every analysis needs it, otherwise a note."""

    what: str
    found: str
    remedy: str = ""
    is_needed: bool = True


@click.command(epilog="Exit code: 0 if a study can be analysed here, 1 if not.")
@models_option
@click.option(
    "-o",
    "--out",
    type=any_path,
    default=Path(),
    help="Folder for results that must be writable.  [default: .]",
)
def doctor(models: Path, out: Path) -> None:
    """Check this machine and say what to mend.

    Python, memory, CPU, GPU, weights, fonts, decoders, write access and extras: every line says what was
    found and, where something is wrong or could be better, what to do.
    """
    is_well = True
    for check in (_python(), _memory(), *_cpu(), _gpu(), *_package(models), _output(out), *_extras()):
        mark = "ok" if not check.remedy else "WRONG" if check.is_needed else "note"
        line = f"{mark:<6}{check.what:<10}{check.found}"
        click.echo(f"{line}: {check.remedy}" if check.remedy else line)
        is_well = is_well and mark != "WRONG"
    click.echo(
        "This machine can analyse a chest CT." if is_well else "Put right what is WRONG, then ask again."
    )
    click.get_current_context().exit(0 if is_well else 1)


def _python() -> Check:
    is_tested = sys.version_info[:2] in PYTHONS
    return Check("python", platform.python_version(), "" if is_tested else "use Python 3.11 or 3.12")


def _memory() -> Check:
    total, available = _memory_gib()
    found = f"{available:.1f} of {total:.1f} GiB free"
    remedy = "" if available >= NEEDED_GIB else f"end other programs: 300 slices need {NEEDED_GIB} GiB"
    if total < NEEDED_GIB:
        remedy = f"300 slices need a machine with {NEEDED_GIB} GiB"
    return Check("memory", found, remedy, is_needed=False)


def _memory_gib() -> tuple[float, float]:
    """Return total and available memory, or a container's limit where it is lower."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    kib = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
    limit = Path("/sys/fs/cgroup/memory.max")
    total, available = kib["MemTotal"] * 1024, kib["MemAvailable"] * 1024
    if limit.is_file() and (text := limit.read_text(encoding="ascii").strip()) != "max":
        total, available = min(total, int(text)), min(available, int(text))
    return total / GIB, available / GIB


def _cpu() -> Iterator[Check]:
    n_cores = len(os.sched_getaffinity(0))
    remedy = "" if n_cores > 1 else "give it two cores: stages run side by side"
    yield Check("cores", str(n_cores), remedy, is_needed=False)
    words = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    have = [flag for flag in CPU_FLAGS if flag in words]
    lacks = [f"{flag} ({why})" for flag, why in CPU_FLAGS.items() if flag not in words]
    remedy = f"it lacks {', '.join(lacks)}" if lacks else ""
    yield Check("cpu", f"{platform.machine()} {' '.join(have)}".strip(), remedy, is_needed=False)


def _gpu() -> Check:
    import torch

    if torch.cuda.is_available():
        return Check("gpu", torch.cuda.get_device_name(0))
    if torch.version.cuda is None:
        return Check("gpu", f"none; torch {torch.__version__} is for CPUs")
    if shutil.which("nvidia-smi"):
        remedy = f"the driver does not fit CUDA {torch.version.cuda}: compare with `nvidia-smi`"
        return Check("gpu", "not usable", remedy, is_needed=False)
    return Check("gpu", "none; the CPU is used")


def _package(models: Path) -> Iterator[Check]:
    from lungct.errors import ModelError
    from lungct.networks.weights import verify_model

    for name in ("lungs", "opacity", "classifier"):
        try:
            info = verify_model(models, name).info
            yield Check("weights", f"{name} {info.version}, checksum {info.sha256[:12]}")
        except ModelError as error:
            yield Check("weights", name, str(error))
    import lungct.report

    fonts = Path(lungct.report.__file__).parent / "fonts"
    missing = [name for name in FONTS if not (fonts / name).is_file()]
    found = f"{len(FONTS) - len(missing)} of {len(FONTS)}"
    yield Check("fonts", found, f"install lungct again, {', '.join(missing)} missing" if missing else "")
    yield _decoders()


def _decoders() -> Check:
    """Ask pydicom which compressed transfer syntaxes of scanners and archives it can decode."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

    syntaxes = {
        "JPEG Lossless": JPEGLosslessSV1,
        "JPEG 2000": JPEG2000Lossless,
        "JPEG-LS": JPEGLSLossless,
        "RLE": RLELossless,
    }
    lost = [name for name, uid in syntaxes.items() if not get_decoder(uid).is_available]
    found = ", ".join(name for name in syntaxes if name not in lost)
    return Check("decoders", found, f"install lungct again, {', '.join(lost)} missing" if lost else "")


def _output(out: Path) -> Check:
    folder = out if out.exists() else out.absolute().parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free / GIB
    except OSError as error:
        return Check("output", str(out), f"cannot be written ({error.strerror}): choose another folder")
    return Check("output", f"{out.absolute()} can be written, {free:.0f} GiB free")


def _extras() -> Iterator[Check]:
    for extra, module in EXTRAS.items():
        remedy = "" if find_spec(module) else f"pip install 'lungct[{extra}]' if you want it"
        found = f"{extra} is not installed" if remedy else extra
        yield Check("extra", found, remedy, is_needed=False)
