"""Files that were damaged, or made to do damage: read, skipped or refused by name, never anything else."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from lungct.dicom_read import read_volume, scan_folder, select_series
from lungct.dicom_read.headers import text
from lungct.dicom_read.image_headers import MOST_FRAMES
from lungct.errors import InputError, PixelDataError
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions, Syntax

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

N_SLICES = 4
BOMB_BYTES = 64 << 20
NESTED = 300
"""Deeper than any real object."""


def analysed_or_refused(folder: Path) -> str:
    """What becomes of a study: ``read``, or the code of the reason why not."""
    try:
        scan = scan_folder(folder)
        select_series(scan)
        for series in scan.series:
            read_volume(series)
    except InputError as error:
        return error.code if len(str(error).splitlines()) == 1 else "several lines"
    return "read"


@pytest.fixture
def study(tmp_path: Path, chest_hu: np.ndarray, options: StudyOptions) -> Callable[..., list[Path]]:
    def write(syntax: Syntax = Syntax.EXPLICIT) -> list[Path]:
        changed = StudyOptions(spacing_mm=options.spacing_mm, transfer_syntax=syntax)
        return write_study(chest_hu[:N_SLICES], tmp_path / "study", changed)

    return write


@pytest.mark.fault("files", "File cut anywhere, {syntax}", "read, skipped, or exit code 4 in one line")
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1))
@pytest.mark.parametrize("syntax", [Syntax.EXPLICIT, Syntax.JPEG_LS, Syntax.DEFLATED])
def test_file_may_be_cut_anywhere(
    study: Callable[..., list[Path]], tmp_path: Path, syntax: Syntax, share: float
) -> None:
    victim = study(syntax)[1]
    content = victim.read_bytes()
    victim.write_bytes(content[: int(share * len(content))])
    assert analysed_or_refused(tmp_path / "study") != "several lines"


@pytest.mark.fault("pixels", "Random bytes inside the pixels, {syntax}", "read, or exit code 4 in one line")
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8))
@pytest.mark.parametrize(
    "syntax", [Syntax.RLE, Syntax.JPEG_LS, Syntax.JPEG_LOSSLESS, Syntax.JPEG_LOSSLESS_SV1, Syntax.JPEG_2000]
)
def test_compressed_pixels_may_be_damaged(
    study: Callable[..., list[Path]], tmp_path: Path, syntax: Syntax, damage: list[tuple[float, int]]
) -> None:
    victim = study(syntax)[1]
    content = bytearray(victim.read_bytes())
    begin = content.rindex(b"\xe0\x7f\x10\x00")
    for share, byte in damage:
        content[begin + int(share * (len(content) - begin - 1))] = byte
    victim.write_bytes(content)
    assert analysed_or_refused(tmp_path / "study") != "several lines"


@pytest.mark.fault("pixels", "Pixels that crash their decoder", "exit code 4, `UNDECODABLE` names the file")
def test_crash_of_a_decoder_costs_the_image_only(study: Callable[..., list[Path]], tmp_path: Path) -> None:
    """GDCM ends the process where the marker of the Huffman table is damaged."""
    victim = study(Syntax.JPEG_LOSSLESS)[1]
    victim.write_bytes(victim.read_bytes().replace(b"\xff\xc4", b"\x00\xc4"))
    with pytest.raises(PixelDataError, match=victim.name) as caught:
        read_volume(scan_folder(tmp_path / "study").series[0])
    assert caught.value.code == "UNDECODABLE"


def insert(path: Path, element: bytes) -> None:
    """Put bytes before the patient's name."""
    content = path.read_bytes()
    at = content.index(b"\x10\x00\x10\x00PN")
    path.write_bytes(content[:at] + element + content[at:])


@pytest.mark.fault("headers", "Private elements, also of unknown type", "read")
def test_private_elements_are_no_matter(study: Callable[..., list[Path]], tmp_path: Path) -> None:
    for path in study():
        dataset = pydicom.dcmread(path)
        block = dataset.private_block(0x0009, "ACME 1.1", create=True)
        block.add_new(0x01, "UN", b"\x00\xff\x00")
        block.add_new(0x02, "OB", bytes(1000))
        dataset.save_as(path)
    assert analysed_or_refused(tmp_path / "study") == "read"


@pytest.mark.fault("headers", "Wrong length of the file header", "read, or skipped and a slice missing")
@pytest.mark.parametrize("length", [0, 4, 0xFFFF, 0xFFFFFFFF])
def test_group_length_may_be_wrong(study: Callable[..., list[Path]], tmp_path: Path, length: int) -> None:
    victim = study()[1]
    content = victim.read_bytes()
    victim.write_bytes(content[:140] + length.to_bytes(4, "little") + content[144:])
    assert analysed_or_refused(tmp_path / "study") in ("read", "UNDECODABLE", "NO_TRANSFER_SYNTAX")


@pytest.mark.fault(
    "headers", "Element that claims to have {length} bytes", "exit code 4, or skipped and a slice missing"
)
@pytest.mark.parametrize("length", [0x7FFFFFFF, 0xFFFFFFF0])
def test_declared_sizes_are_not_believed(
    study: Callable[..., list[Path]], tmp_path: Path, length: int
) -> None:
    victim = study()[1]
    insert(victim, b"\x09\x00\x10\x10OB\x00\x00" + length.to_bytes(4, "little"))
    assert analysed_or_refused(tmp_path / "study") in ("UNDECODABLE", "read")


@pytest.mark.fault("headers", f"Sequences nested {NESTED} deep", "read, or skipped as damaged")
def test_sequences_may_be_nested_deeply(study: Callable[..., list[Path]], tmp_path: Path) -> None:
    opening = b"\x09\x00\x10\x10SQ\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\x00\x00\x00\x00" + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    insert(study()[1], opening * NESTED + closing * NESTED)
    assert analysed_or_refused(tmp_path / "study") == "read"


@pytest.mark.fault(
    "pixels", "Rows and Columns tell {rows} x {columns} instead of 48 x 40", "exit code 4, `{code}`"
)
@pytest.mark.parametrize(
    ("rows", "columns", "code"),
    [(48, 39, "WRONG_SIZE"), (47, 40, "WRONG_SIZE"), (24, 24, "WRONG_SIZE"), (65535, 65535, "UNDECODABLE")],
)
def test_told_and_held_sizes_are_compared(
    study: Callable[..., list[Path]], tmp_path: Path, rows: int, columns: int, code: str
) -> None:
    for path in study():
        dataset = pydicom.dcmread(path)
        dataset.Rows, dataset.Columns = rows, columns
        dataset.save_as(path)
    assert analysed_or_refused(tmp_path / "study") == code


@pytest.mark.fault("headers", "A sequence where a name should be", "counts as missing")
def test_sequence_in_place_of_text_is_no_text(study: Callable[..., list[Path]], tmp_path: Path) -> None:
    """Found by fuzzing: printing it can fail."""
    victim = study()[1]
    content = victim.read_bytes().replace(b"\x10\x00\x20\x00LO", b"\x10\x00\x20\x00SQ")
    victim.write_bytes(content)
    assert analysed_or_refused(tmp_path / "study") in ("read", "UNDECODABLE", "NO_DICOM")
    broken = Dataset()
    broken.PatientID = Sequence([Dataset()])
    assert text(broken, "PatientID") == ""


@pytest.mark.fault("pixels", "Transfer syntax that is none", "exit code 4, `UNSUPPORTED_COMPRESSION`")
def test_unknown_transfer_syntax_is_refused(study: Callable[..., list[Path]], tmp_path: Path) -> None:
    """Found by fuzzing."""
    victim = study()[1]
    victim.write_bytes(victim.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.9.1\0"))
    assert analysed_or_refused(tmp_path / "study") == "UNSUPPORTED_COMPRESSION"


@pytest.mark.fault("headers", "Nothing but empty values and the pixels", "skipped, `INCOMPLETE_HEADER`")
def test_empty_values_are_missing_values(study: Callable[..., list[Path]], tmp_path: Path) -> None:
    for path in study():
        dataset = pydicom.dcmread(path)
        for element in dataset:
            if element.keyword not in ("SOPClassUID", "SOPInstanceUID", "PixelData"):
                element.value = Sequence([Dataset()]) if element.VR == "SQ" else None
        dataset.save_as(path)
    assert analysed_or_refused(tmp_path / "study") == "NO_DICOM"


@pytest.mark.fault("files", "A pipe among the files", "left out, `NOT_A_FILE`")
def test_pipe_is_not_opened(study: Callable[..., list[Path]], tmp_path: Path) -> None:
    study()
    os.mkfifo(tmp_path / "study" / "pipe.dcm")
    scan = scan_folder(tmp_path / "study")
    assert [(file.name, file.reason.code) for file in scan.skipped] == [("pipe.dcm", "NOT_A_FILE")]


@pytest.mark.fault("files", "Deflated {part} that inflates a thousandfold", "left out or exit code 4")
@pytest.mark.parametrize("part", ["header", "pixels"])
def test_inflation_is_bounded(study: Callable[..., list[Path]], tmp_path: Path, part: str) -> None:
    victim = study(Syntax.DEFLATED)[1]
    dataset = pydicom.dcmread(victim)
    if part == "header":
        dataset.add_new(0x00510010, "LO", "BOMB")
        dataset.add_new(0x00511010, "OB", bytes(BOMB_BYTES))
    else:
        dataset.PixelData = bytes(BOMB_BYTES)
    dataset.save_as(victim)
    assert victim.stat().st_size < BOMB_BYTES / 500
    tracemalloc.start()
    assert analysed_or_refused(tmp_path / "study") == "DEFLATED_TOO_LARGE"
    assert tracemalloc.get_traced_memory()[1] < BOMB_BYTES / 2
    tracemalloc.stop()


@pytest.mark.fault("files", "More frames in a file than any CT has", "left out, `TOO_MANY_FRAMES`")
def test_file_of_countless_frames_is_left_out(study: Callable[..., list[Path]], tmp_path: Path) -> None:
    victim = study()[1]
    dataset = pydicom.dcmread(victim)
    dataset.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(MOST_FRAMES + 1)]
    dataset.save_as(victim)
    assert [file.reason.code for file in scan_folder(tmp_path / "study").skipped] == ["TOO_MANY_FRAMES"]
