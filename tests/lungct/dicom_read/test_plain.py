"""Plain files are read past pydicom, and no data set may show it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.charset import default_encoding, python_encoding
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from lungct.dicom_read.headers import value_of
from lungct.dicom_read.plain import PlainFile, read_plain
from lungct_research.synthesis.phantom.dicom_study import StudyOptions, Syntax, write_study

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

OTHER_ENCODINGS = (Syntax.IMPLICIT, Syntax.BIG_ENDIAN, Syntax.DEFLATED)
WITH_TEXT = ("Modality", "PatientName", "PatientAge", "PatientBirthDate", "SliceThickness", "InstanceNumber")


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def write(syntax: Syntax = Syntax.EXPLICIT) -> Path:
        volume_hu = np.random.default_rng(0).integers(-1000, 100, (2, 32, 32)).astype(np.int16)
        folder = tmp_path_factory.mktemp("study")
        return write_study(volume_hu, folder, StudyOptions(transfer_syntax=syntax))[0]

    return write


def assert_equals_pydicom(path: Path, *, with_pixels: bool) -> None:
    plain, expected = (
        read_plain(path, with_pixels=with_pixels),
        pydicom.dcmread(path, stop_before_pixels=not with_pixels),
    )
    assert plain is not None
    assert plain.elements.keys() == expected.keys()
    for tag, element in plain.elements.items():
        if isinstance(as_kept := expected.get_item(tag, keep_deferred=True), RawDataElement):
            assert element == as_kept
    read = plain.dataset
    assert_same_elements(read, expected)
    assert_same_elements(read.file_meta, expected.file_meta)
    assert read.preamble == expected.preamble
    assert read.original_encoding == expected.original_encoding
    assert read.original_character_set == expected.original_character_set


def assert_same_elements(read: Dataset, expected: Dataset) -> None:
    """As raw as they are kept; a few are converted by pydicom at once."""
    assert read.keys() == expected.keys()
    for tag in expected.keys():  # noqa: SIM118 - iteration would convert them
        as_kept = expected.get_item(tag, keep_deferred=True)
        is_raw = isinstance(as_kept, RawDataElement)
        assert (read.get_item(tag, keep_deferred=True) if is_raw else read[tag]) == as_kept


@pytest.mark.parametrize("syntax", [syntax for syntax in Syntax if syntax not in OTHER_ENCODINGS])
def test_header_equals_that_of_pydicom(image: Callable[..., Path], syntax: Syntax) -> None:
    assert_equals_pydicom(image(syntax), with_pixels=False)


def test_data_set_equals_that_of_pydicom(image: Callable[..., Path]) -> None:
    assert_equals_pydicom(image(), with_pixels=True)


@pytest.mark.parametrize("charset", [*python_encoding, "ISO 2022 IR 6\\ISO 2022 IR 87", "none known"])
def test_character_set_is_that_of_pydicom(image: Callable[..., Path], charset: str) -> None:
    path = image()
    dataset = pydicom.dcmread(path)
    dataset.SpecificCharacterSet = charset.split("\\")
    dataset.save_as(path)
    if read_plain(path, with_pixels=False) is not None:
        assert_equals_pydicom(path, with_pixels=False)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), with_pixels=st.booleans())
def test_damaged_file_is_left_to_pydicom_or_equal(
    image: Callable[..., Path], tmp_path: Path, data: st.DataObject, with_pixels: bool
) -> None:
    content = bytearray(image().read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        damage = data.draw(st.binary(max_size=4))
        content[at : at + data.draw(st.sampled_from((0, len(damage), 200)))] = damage
    path = tmp_path / "damaged.dcm"
    path.write_bytes(content)
    if read_plain(path, with_pixels=with_pixels) is not None:
        assert_equals_pydicom(path, with_pixels=with_pixels)


@pytest.mark.parametrize("syntax", OTHER_ENCODINGS)
def test_other_encodings_are_left_to_pydicom(image: Callable[..., Path], syntax: Syntax) -> None:
    assert read_plain(image(syntax), with_pixels=False) is None


@pytest.mark.parametrize("open_item", [False, True])
def test_sequences_of_undefined_length_are_passed_over(image: Callable[..., Path], open_item: bool) -> None:
    """As scanners write them."""
    path = image()
    dataset, inner, outer = pydicom.dcmread(path), Dataset(), Dataset()
    inner.CodeValue = "121311"
    outer.PurposeOfReferenceCodeSequence = Sequence([inner, inner])
    outer["PurposeOfReferenceCodeSequence"].is_undefined_length = True
    outer.is_undefined_length_sequence_item = inner.is_undefined_length_sequence_item = open_item
    dataset.ReferencedImageSequence = Sequence([outer, Dataset(), outer])
    dataset["ReferencedImageSequence"].is_undefined_length = True
    dataset.save_as(path)
    assert_equals_pydicom(path, with_pixels=False)
    assert_equals_pydicom(path, with_pixels=True)


def test_compressed_pixels_are_left_to_pydicom(image: Callable[..., Path]) -> None:
    assert read_plain(image(Syntax.RLE), with_pixels=True) is None


@pytest.mark.parametrize("group", [0, 1, 3, 7])
def test_groups_between_file_header_and_data_set_are_left_to_pydicom(
    image: Callable[..., Path], group: int
) -> None:
    path = image()
    content = path.read_bytes()
    at = content.index(b"\x08\x00\x05\x00CS")
    path.write_bytes(content[:at] + bytes([group, 0, 0x13, 0]) + b"CS\x02\x00AB" + content[at:])
    assert read_plain(path, with_pixels=False) is None


def test_character_set_that_is_a_number_is_left_to_pydicom(image: Callable[..., Path]) -> None:
    path = image()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x08\x00\x05\x00CS", b"\x08\x00\x05\x00UL"))
    assert read_plain(path, with_pixels=False) is None


@pytest.mark.parametrize("n_bytes", [0, 2, 6])
def test_odd_length_of_the_file_header_is_left_to_pydicom(image: Callable[..., Path], n_bytes: int) -> None:
    path = image()
    content = path.read_bytes()
    begin = content.index(b"\x02\x00\x00\x00UL\x04\x00")
    length = n_bytes.to_bytes(2, "little") + bytes(n_bytes)
    path.write_bytes(content[: begin + 6] + length + content[begin + 12 :])
    assert read_plain(path, with_pixels=False) is None


def test_empty_data_set_is_left_to_pydicom(image: Callable[..., Path]) -> None:
    path = image()
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\x08\x00\x05\x00CS")])
    assert read_plain(path, with_pixels=False) is None


def test_cut_file_is_left_to_pydicom(image: Callable[..., Path]) -> None:
    path = image()
    path.write_bytes(path.read_bytes()[:-1])
    assert read_plain(path, with_pixels=True) is None


@given(keyword=st.sampled_from(WITH_TEXT), content=st.binary(max_size=12))
def test_value_is_that_of_pydicom(keyword: str, content: bytes) -> None:
    """Also where it is remembered from another image."""
    tag = Tag(keyword)
    vr = pydicom.datadict.dictionary_VR(tag)

    elements = {tag: RawDataElement(tag, vr, len(content), content, 0, False, True)}
    try:
        expected = Dataset(dict(elements)).get(keyword)
    except Exception:  # pydicom raises what it likes
        expected = None
    found = value_of(PlainFile(Path(), b"", {}, elements, default_encoding), keyword)
    assert found == expected or expected != expected  # noqa: PLR0124 - not a number
