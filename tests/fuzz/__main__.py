"""Coverage-guided fuzzing of what reads other people's bytes: ``make fuzz``.

Each target runs in a process of its own for its share of the time. A crash, or an exception that is no
``InputError``, stops it; the input that caused it stays in ``runs/fuzz`` and becomes a test.

Example:
    python -m tests.fuzz --seconds 600
    python -m tests.fuzz --target scan runs/fuzz/crash-…
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from unicodedata import category

import atheris
import numpy as np

with atheris.instrument_imports(include=["lungct", "pydicom"]):
    from pydicom import Dataset, config, dcmread

    from lungct.dicom_read import read_volume, scan_folder, select_series
    from lungct.dicom_read.headers import age_years, legible, readable_name
    from lungct.dicom_read.privacy import NameMask, identifiers, printable
    from lungct.errors import InputError

from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions, Syntax

SEED_SYNTAXES = (Syntax.EXPLICIT, Syntax.IMPLICIT, Syntax.DEFLATED)
"""What the mutations begin with; compressed pixels are decoded in other processes."""

N_SLICES = 3
CORPUS = Path("runs/fuzz")


def scan(data: bytes) -> None:
    """One file of a study."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        (Path(folder) / "image.dcm").write_bytes(data)
        _read(Path(folder))


def series(data: bytes) -> None:
    """One slice among sound ones: sorting, geometry and pixels."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        for number, content in enumerate(_sound_slices()):
            (Path(folder) / f"{number}.dcm").write_bytes(content)
        (Path(folder) / "1.dcm").write_bytes(data)
        _read(Path(folder))


def text(data: bytes) -> None:
    """Values of a header that end up in report and log."""
    provider = atheris.FuzzedDataProvider(data)
    dataset = Dataset()
    for keyword in (
        "PatientName",
        "PatientID",
        "PatientAge",
        "PatientBirthDate",
        "StudyDate",
        "OtherPatientIDs",
    ):
        dataset.add_new(keyword, "LO", provider.ConsumeUnicodeNoSurrogates(40))
    shown = NameMask(identifiers(dataset))(printable(provider.ConsumeUnicode(40)))
    age_years(dataset)
    if any(category(letter) == "Cc" for letter in legible(readable_name(dataset)) + shown):
        raise RuntimeError("control characters reach people")


def _read(folder: Path) -> None:
    with suppress(InputError):
        found = scan_folder(folder)
        select_series(found)
        for one in found.series:
            read_volume(one)


@cache
def _sound_slices() -> tuple[bytes, ...]:
    return _seeds(Syntax.EXPLICIT)


def _seeds(syntax: Syntax) -> tuple[bytes, ...]:
    """A tiny series in one transfer syntax."""
    volume_hu = np.random.default_rng(0).integers(-1000, 100, (N_SLICES, 8, 8)).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        options = StudyOptions(transfer_syntax=syntax)
        return tuple(path.read_bytes() for path in write_study(volume_hu, Path(folder), options))


def _with_sequences(content: bytes) -> bytes:
    """The image with a sequence of undefined length in another one."""
    dataset, inner, outer = dcmread(BytesIO(content)), Dataset(), Dataset()
    outer.PurposeOfReferenceCodeSequence = [inner]
    dataset.ReferencedImageSequence = [outer]
    for one, keyword in ((outer, "PurposeOfReferenceCodeSequence"), (dataset, "ReferencedImageSequence")):
        one[keyword].is_undefined_length = True
    inner.is_undefined_length_sequence_item = True
    written = BytesIO()
    dataset.save_as(written)
    return written.getvalue()


TARGETS: dict[str, Callable[[bytes], None]] = {"scan": scan, "series": series, "text": text}


def main() -> int:
    """Run one target in this process, or all, each in its own; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together")
    parser.add_argument("--target", choices=TARGETS)
    parser.add_argument("inputs", nargs="*", help="corpus, or an input to try again; options of libFuzzer")
    arguments, options = parser.parse_known_args()
    if arguments.target is None:
        return max(_run_apart(target, arguments.seconds // len(TARGETS)) for target in TARGETS)
    config.settings.reading_validation_mode = config.IGNORE
    atheris.Setup(
        [sys.argv[0], f"-artifact_prefix={CORPUS}/", *arguments.inputs, *options], TARGETS[arguments.target]
    )
    atheris.Fuzz()
    return 0


def _run_apart(target: str, seconds: int) -> int:
    """Fuzz one target; its corpus grows from run to run."""
    corpus = CORPUS / target
    corpus.mkdir(parents=True, exist_ok=True)
    for syntax in SEED_SYNTAXES:
        (corpus / syntax).write_bytes(_seeds(syntax)[1])
    (corpus / "sequences").write_bytes(_with_sequences(_seeds(Syntax.EXPLICIT)[1]))
    options = [f"-max_total_time={seconds}", "-timeout=60", "-rss_limit_mb=4096", "-max_len=4096"]
    command = [sys.executable, "-m", "tests.fuzz", "--target", target, str(corpus), *options]
    return subprocess.run(command, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
