"""What a header-only walk finds, skips and refuses."""

from __future__ import annotations

import gc
import logging
import os
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import EncapsulatedPDFStorage, MediaStorageDirectoryStorage

from lungct.dicom_read import read_patient_study, read_volume, scan_folder, select_series
from lungct.dicom_read.headers import age_years
from lungct.dicom_read.privacy import NameMask, identifiers
from lungct.dicom_read.scan import scan_headers
from lungct.errors import NoDicomError
from lungct.records import Series, SliceHeader
from lungct_research.synthesis.phantom.dicom_study import write_localizer, write_study
from lungct_research.synthesis.phantom.study_options import Fault, StudyOptions, Syntax


def _save_as(path: Path, source: Path, **changes: object) -> None:
    dataset = pydicom.dcmread(source)
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)


def _without_file_header(dataset: pydicom.Dataset, syntax: Syntax) -> pydicom.Dataset:
    plain = pydicom.Dataset(dataset)
    plain.set_original_encoding(syntax is Syntax.IMPLICIT, True)
    return plain


@pytest.fixture
def one_slice(tmp_path: Path, chest_hu: np.ndarray, options: StudyOptions) -> Path:
    return write_study(chest_hu[:1], tmp_path / "one", options)[0]


def test_nested_folders_are_one_series(written: Callable[..., Series], tmp_path: Path) -> None:
    written()
    deep = tmp_path / "study" / "a" / "b"
    deep.mkdir(parents=True)
    first = min((tmp_path / "study").glob("*.dcm"))
    first.rename(deep / "no_extension")
    (series,) = scan_folder(tmp_path).series
    assert len(series.slices) == 20
    assert series.slices[0].name == "study/a/b/no_extension"


def test_headers_without_files_are_judged_like_files(written: Callable[..., Series], tmp_path: Path) -> None:
    written()
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(tmp_path.rglob("*.dcm"))]
    from_headers, from_files = scan_headers([*headers, pydicom.Dataset()]), scan_folder(tmp_path)
    (verdict,), (expected,) = (select_series(scan).verdicts for scan in (from_headers, from_files))
    assert [reason.code for reason in verdict.reasons] == [reason.code for reason in expected.reasons]
    assert [image.position_mm for image in verdict.series.slices] == [
        image.position_mm for image in expected.series.slices
    ]
    assert [file.reason.code for file in from_headers.skipped] == ["NOT_AN_IMAGE"]


def test_studies_and_series_are_kept_apart(
    tmp_path: Path, chest_hu: np.ndarray, options: StudyOptions
) -> None:
    for seed, number in ((1, 1), (1, 2), (2, 1)):
        write_study(chest_hu[:3], tmp_path, replace(options, seed=seed, series_number=number + 2 * seed))
    series = scan_folder(tmp_path).series
    assert [len(one.slices) for one in series] == [3, 3, 3]
    assert len({one.study_uid for one in series}) == 2


def test_slices_of_a_series_come_in_instance_order(written: Callable[..., Series]) -> None:
    assert [image.instance_number for image in written(reversed_files=True).slices] == list(range(1, 21))


def test_headers_tell_what_selection_needs(written: Callable[..., Series]) -> None:
    series = written(kernel="FC52", manufacturer="TOSHIBA", slice_thickness_mm=2.0, patient_age_years=71)
    assert (series.kernel, series.manufacturer, series.slice_thickness_mm) == ("FC52", "TOSHIBA", 2.0)
    assert (series.modality, series.body_part, series.age_years) == ("CT", "CHEST", 71.0)
    assert series.slices[0].image_type == ("ORIGINAL", "PRIMARY", "AXIAL")


def test_multi_frame_image_gives_one_header_a_frame(written: Callable[..., Series]) -> None:
    series = written(enhanced=True, kernel="LUNG")
    assert [image.frame for image in series.slices] == list(range(20))
    assert len({image.path for image in series.slices}) == 1
    assert series.slices[3].name == "CT001_0001.dcm frame 4"
    assert (series.kernel, series.slice_thickness_mm, series.body_part) == ("LUNG", 1.25, "CHEST")


def test_single_file_is_a_scan(one_slice: Path) -> None:
    scan = scan_folder(one_slice)
    assert [image.name for image in scan.series[0].slices] == [one_slice.name]


def test_localizer_is_a_series_of_its_own(
    tmp_path: Path, chest_hu: np.ndarray, options: StudyOptions
) -> None:
    write_localizer(chest_hu, tmp_path, options)
    (series,) = scan_folder(tmp_path).series
    assert series.slices[0].image_type[2] == "LOCALIZER"


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "EMPTY_FILE"), (b"report.dcm but text", "NOT_DICOM"), (b"\0" * 400, "NOT_DICOM")],
)
@pytest.mark.fault("files", "File with {content}", "skipped, `{code}`")
def test_junk_is_skipped_with_its_reason(one_slice: Path, content: bytes, code: str) -> None:
    (one_slice.parent / "junk.dcm").write_bytes(content)
    scan = scan_folder(one_slice.parent)
    assert [(file.name, file.reason.code) for file in scan.skipped] == [("junk.dcm", code)]
    assert len(scan.series) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"SOPClassUID": EncapsulatedPDFStorage, "Rows": None}, "NOT_AN_IMAGE"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "NOT_AN_IMAGE"),
    ],
)
@pytest.mark.fault("files", "Object with {changes}", "skipped, `{code}`")
def test_objects_that_are_no_images_are_skipped(
    one_slice: Path, changes: dict[str, object], code: str
) -> None:
    _save_as(one_slice.parent / "other", one_slice, **changes)
    assert [file.reason.code for file in scan_folder(one_slice.parent).skipped] == [code]


@pytest.mark.fault("files", "DICOMDIR", "skipped, `DICOMDIR`")
def test_dicomdir_is_skipped(one_slice: Path) -> None:
    """Its class stands in the file header alone."""
    directory = pydicom.dcmread(one_slice)
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    del directory.SOPClassUID
    directory.save_as(one_slice.parent / "DICOMDIR", enforce_file_format=True)
    assert [file.reason.code for file in scan_folder(one_slice.parent).skipped] == ["DICOMDIR"]


@pytest.mark.parametrize("syntax", [Syntax.IMPLICIT, Syntax.EXPLICIT])
@pytest.mark.fault("files", "File without preamble and file header, {syntax}", "read")
def test_file_without_its_header_is_read(
    written: Callable[..., Series], chest_hu: np.ndarray, tmp_path: Path, syntax: Syntax
) -> None:
    for image in written(transfer_syntax=syntax).slices:
        dataset = pydicom.dcmread(image.path)
        with image.path.open("wb") as file:
            pydicom.filewriter.write_dataset(
                pydicom.filebase.DicomFileLike(file), _without_file_header(dataset, syntax)
            )
    (series,) = scan_folder(tmp_path / "study").series
    assert np.array_equal(read_volume(series).volume_hu, chest_hu)


@pytest.mark.fault("headers", "Two patients under one series UID", "two series")
def test_two_patients_are_never_one_series(written: Callable[..., Series], tmp_path: Path) -> None:
    for image in written().slices[10:]:
        _save_as(image.path, image.path, PatientID="SOMEBODY ELSE")
    assert [len(series.slices) for series in scan_folder(tmp_path / "study").series] == [10, 10]


@pytest.mark.fault("headers", "Slices of several thicknesses", "the thickest counts")
def test_thickest_slice_counts(written: Callable[..., Series], tmp_path: Path) -> None:
    image = written().slices[5]
    _save_as(image.path, image.path, SliceThickness=5.0)
    assert scan_folder(tmp_path / "study").series[0].slice_thickness_mm == 5.0


@pytest.mark.fault("headers", "Pixel spacing of 0", "counts as missing; the image is left out")
def test_zero_pixel_spacing_is_none(written: Callable[..., Series], tmp_path: Path) -> None:
    image = written().slices[0]
    _save_as(image.path, image.path, PixelSpacing=[0, 0])
    (odd,) = scan_folder(tmp_path / "study").skipped
    assert odd.reason.code == "ODD_IMAGE"


@pytest.mark.fault("files", "File name that is no text, or has a line break", "named with ? in its place")
def test_file_names_that_are_no_text_are_made_readable(one_slice: Path) -> None:
    folder = os.fsencode(one_slice.parent)
    for name in (b"Befund_M\xfcller.txt", b"two\nlines.txt"):
        (Path(os.fsdecode(folder)) / os.fsdecode(name)).write_text("letter")
    names = {file.name for file in scan_folder(one_slice.parent).skipped}
    assert names == {"Befund_M?ller.txt", "two?lines.txt"}


@pytest.mark.fault(
    "files",
    "Folder that may not be read, or a link to a folder",
    "skipped, `UNREADABLE_FOLDER`, `LINKED_FOLDER`",
)
def test_folder_that_is_not_entered_is_told(one_slice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (one_slice.parent / "locked").mkdir()
    (one_slice.parent / "link").symlink_to(one_slice.parent)
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    scan = scan_folder(one_slice.parent)
    assert {(file.name, file.reason.code) for file in scan.skipped} == {
        ("locked", "UNREADABLE_FOLDER"),
        ("link", "LINKED_FOLDER"),
    }
    assert len(scan.series) == 1


def test_truncated_file_stays_in_its_series(written: Callable[..., Series]) -> None:
    assert len(written(faults=(Fault.TRUNCATED_FILE,)).slices) == 20


@pytest.mark.fault(
    "files",
    "Folder without any DICOM image",
    "exit code 4, `NO_DICOM`; what was skipped is counted by reason",
)
def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("nothing here")
    with pytest.raises(NoDicomError, match=r"holds no DICOM image; .*1 NOT_DICOM"):
        select_series(scan_folder(tmp_path))


@pytest.mark.fault("files", "Input folder that does not exist", "exit code 4, `NO_DICOM`")
def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoDicomError, match="input folder does not exist"):
        scan_folder(tmp_path / "nowhere")


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.fault(
    "headers",
    "Header with up to eight random bytes, cut anywhere (multi-frame: {enhanced})",
    "read or skipped, never an end of the scan",
)
def test_damaged_header_never_ends_the_scan(
    tmp_path: Path, chest_hu: np.ndarray, options: StudyOptions, enhanced: bool, data: st.DataObject
) -> None:
    kind = replace(
        options, enhanced=enhanced, transfer_syntax=Syntax.IMPLICIT if enhanced else Syntax.EXPLICIT
    )
    (one_slice,) = write_study(chest_hu[:1], tmp_path / "one", kind)
    content = bytearray(one_slice.read_bytes()[: 3000 if enhanced else 1600])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = one_slice.parent / "damaged"
    damaged.write_bytes(content[: data.draw(st.integers(140, len(content)))])
    scan = scan_folder(one_slice.parent)
    assert sum(len(series.slices) for series in scan.series) + len(scan.skipped) == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Иванов^Пётр", "Иванов Пётр"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada Tarou (山田 太郎)"),
        ("=王^小东", "王 小东"),
        ("", ""),
    ],
)
def test_patient_name_reads_in_any_script(written: Callable[..., Series], name: str, expected: str) -> None:
    assert read_patient_study(written(patient_name=name)).patient_name == expected


def test_patient_name_follows_its_character_set(one_slice: Path) -> None:
    _save_as(one_slice, one_slice, SpecificCharacterSet="ISO_IR 144", PatientName="Люксембург")
    assert "Люксембург".encode("iso8859_5") in one_slice.read_bytes()
    assert read_patient_study(scan_folder(one_slice).series[0]).patient_name == "Люксембург"


@pytest.mark.fault("headers", "Control characters in a name", "blanks in their place")
def test_what_is_not_seen_but_acts_becomes_a_blank(one_slice: Path) -> None:
    _save_as(
        one_slice, one_slice, SpecificCharacterSet="ISO_IR 192", PatientName="Li\u202e\x1b[2J^\u200cx\u3000y"
    )
    assert read_patient_study(scan_folder(one_slice).series[0]).patient_name == "Li  [2J \u200cx\u3000y"


def test_patient_study_holds_what_the_report_prints(written: Callable[..., Series]) -> None:
    patient = read_patient_study(written(patient_id="P7", institution="St. Mary"))
    assert (patient.patient_id, patient.institution) == ("P7", "St. Mary")
    assert (patient.study_date, patient.study_description) == ("20200401", "Chest CT of a phantom")


@pytest.mark.fault("headers", "Malformed value", "counts as missing; never in a log or a warning")
def test_malformed_values_reach_neither_log_nor_warnings(
    one_slice: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    content = one_slice.read_bytes().replace(b"050Y", b"Mr X")
    one_slice.write_bytes(content)
    with caplog.at_level(logging.DEBUG):
        assert scan_folder(one_slice).series[0].age_years is None
    assert "Mr X" not in caplog.text + " ".join(str(warning.message) for warning in recwarn)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"PatientAge": "062Y"}, 62.0),
        ({"PatientAge": "018M"}, 1.5),
        ({"PatientAge": "000D"}, 0.0),
        ({"PatientAge": "000Y"}, None),
        ({"PatientAge": "0", "PatientBirthDate": "19600401", "StudyDate": "20200401"}, 60.0),
        ({"PatientAge": "045"}, 45.0),
        ({"PatientAge": "999Y"}, None),
        ({"PatientBirthDate": "00010101", "StudyDate": "00010101"}, None),
        ({"PatientBirthDate": "20200401", "StudyDate": "20200401"}, None),
        ({"PatientBirthDate": "20210401", "StudyDate": "20200401"}, None),
        ({"PatientBirthDate": "19000101", "StudyDate": "20200401"}, None),
        ({"PatientBirthDate": "18900101", "StudyDate": "19000101"}, None),
        ({"PatientBirthDate": "1960.04.01", "StudyDate": "20200401"}, 60.0),
        ({"PatientBirthDate": "20020402", "StudyDate": "20200401"}, 17.0),
        ({"PatientBirthDate": "20020401", "StudyDate": "20200401"}, 18.0),
        ({"PatientAge": "", "PatientBirthDate": "2002"}, None),
        ({}, None),
    ],
)
def test_age_comes_from_age_or_dates(attributes: dict[str, str], expected: float | None) -> None:
    dataset = pydicom.Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    assert age_years(dataset) == expected


@pytest.mark.parametrize(
    ("header", "file_name", "shown"),
    [
        ({"PatientName": "王^小东"}, "王小东_1.dcm", "***_1.dcm"),
        ({"PatientName": "Li^Na"}, "Li_Na.dcm", "***.dcm"),
        ({"PatientName": "Müller^Jörg"}, unicodedata.normalize("NFD", "MÜLLER_Jörg.dcm"), "***.dcm"),
        ({"PatientName": "Smith-Jones^Ann"}, "CT_Jones.dcm", "CT_***.dcm"),
        ({"PatientID": "12-345-678"}, "12345678.dcm", "***.dcm"),
        ({"AccessionNumber": "A 77 31"}, "a7731.dcm", "***.dcm"),
        ({"PatientBirthDate": "19700229"}, "1970-02-29.dcm", "***.dcm"),
        ({"PatientID": "7"}, "IM0007.dcm", "IM0007.dcm"),
    ],
)
def test_identifiers_are_masked_however_they_are_written(
    header: dict[str, str], file_name: str, shown: str
) -> None:
    dataset = pydicom.Dataset()
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    assert NameMask(identifiers(dataset))(file_name) == shown


@pytest.mark.fault("machine", "A fault of our own while a header is read", "exit code 1, not a skipped file")
def test_fault_of_our_own_is_no_damaged_header(one_slice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AttributeError

    monkeypatch.setattr(SliceHeader, "__init__", fail)
    with pytest.raises(AttributeError):
        scan_folder(one_slice)


def test_no_object_holds_the_name_after_a_scan(tmp_path: Path, chest_hu: np.ndarray) -> None:
    """A worker that stays warm must not carry a patient from one study into the next."""
    name = "".join(("Wobbe", "gong"))
    options = StudyOptions(patient_name=f"{name}^Zenobia", patient_id=f"{name}-7")
    write_study(chest_hu, tmp_path, options)
    del options
    scan = scan_folder(tmp_path)
    assert select_series(scan).verdicts
    assert holders_of(name) == []


def holders_of(name: str) -> list[object]:
    """Find all objects that hold a text with this name, but for variables that are the name itself."""
    gc.collect()
    holders = []
    for holder in gc.get_objects():
        for held in gc.get_referents(holder):
            text = held.decode("latin-1") if isinstance(held, bytes) else held
            if (
                isinstance(text, str)
                and name in text
                and held is not name
                and not isinstance(holder, FrameType)
            ):
                holders.append(holder)
    return holders


def test_report_alone_does_not_name_the_patient(one_slice: Path, tmp_path: Path) -> None:
    report = tmp_path / "reports" / "Quaxolotl.dcm"
    report.parent.mkdir()
    changes = {"SOPClassUID": EncapsulatedPDFStorage, "Rows": None, "PatientName": "Quaxolotl^Zenobia"}
    _save_as(report, one_slice, **changes)
    assert [file.name for file in scan_folder(report.parent).skipped] == ["***.dcm"]


def test_names_of_files_do_not_name_the_patient(tmp_path: Path) -> None:
    options = StudyOptions(patient_name="Quaxolotl^Zenobia", patient_id="ID-77310955")
    first, second, *_ = write_study(np.full((4, 8, 8), -900, np.int16), tmp_path, options)
    first.rename(tmp_path / "quaxolotl_ZENOBIA_1.dcm")
    second.rename(tmp_path / "x-ID-77310955.dcm")
    (tmp_path / "Zenobia.txt").write_text("letter")
    scan = scan_folder(tmp_path)
    names = {image.name for image in scan.series[0].slices} | {file.name for file in scan.skipped}
    assert names >= {"***_1.dcm", "x-***.dcm", "***.txt"}
