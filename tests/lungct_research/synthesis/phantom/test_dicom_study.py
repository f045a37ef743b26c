"""The DICOM writer: reproducible, complete, honest about what it cannot do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import numpy.typing as npt
import pydicom
import pytest

from lungct_research.synthesis.phantom.dicom_study import write_localizer, write_study
from lungct_research.synthesis.phantom.study_options import Fault, Orientation, StudyOptions, Syntax

_STANDARD = Path(highdicom.__file__).parent / "_standard"


@pytest.fixture
def volume_hu() -> npt.NDArray[np.int16]:
    return np.random.default_rng(0).integers(-1000, 200, (5, 40, 32)).astype(np.int16)


def _attributes(iod: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Keyword, type and path of every attribute of an IOD's mandatory modules."""
    modules = json.loads((_STANDARD / "iod_module_map.json").read_text())[iod]
    attributes = json.loads((_STANDARD / "module_attribute_map.json").read_text())
    return [
        (attribute["keyword"], attribute["type"], tuple(attribute["path"]))
        for module in modules
        if module["usage"] == "M"
        for attribute in attributes[module["key"]]
    ]


@pytest.mark.parametrize(("enhanced", "iod"), [(False, "ct-image"), (True, "enhanced-ct-image")])
def test_every_required_attribute_is_there(
    tmp_path: Path, volume_hu: npt.NDArray[np.int16], enhanced: bool, iod: str
) -> None:
    image = pydicom.dcmread(write_study(volume_hu, tmp_path, StudyOptions(enhanced=enhanced))[0])
    top_level = [(keyword, kind) for keyword, kind, path in _attributes(iod) if not path]
    assert [keyword for keyword, kind in top_level if kind == "1" and not image.get(keyword)] == []
    assert [keyword for keyword, kind in top_level if kind == "2" and keyword not in image] == []


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("syntax", Syntax)
def test_same_options_write_the_same_bytes(
    tmp_path: Path, volume_hu: npt.NDArray[np.int16], syntax: Syntax, enhanced: bool
) -> None:
    options = StudyOptions(transfer_syntax=syntax, enhanced=enhanced)
    first, second = (
        [path.read_bytes() for path in write_study(volume_hu, tmp_path / name, options)] for name in "ab"
    )
    assert first == second


def test_seed_changes_every_uid(tmp_path: Path, volume_hu: npt.NDArray[np.int16]) -> None:
    one, other = (
        pydicom.dcmread(write_study(volume_hu, tmp_path, StudyOptions(seed=seed))[0]) for seed in (1, 2)
    )
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        assert one[keyword].value != other[keyword].value


def test_series_of_one_seed_share_a_study(tmp_path: Path, volume_hu: npt.NDArray[np.int16]) -> None:
    one, other = (
        pydicom.dcmread(write_study(volume_hu, tmp_path, StudyOptions(series_number=number))[0])
        for number in (1, 2)
    )
    assert one.StudyInstanceUID == other.StudyInstanceUID
    assert one.SeriesInstanceUID != other.SeriesInstanceUID


def test_stored_values_are_clipped_to_the_bits_stored(
    tmp_path: Path, volume_hu: npt.NDArray[np.int16]
) -> None:
    options = StudyOptions(signed=False, bits_stored=12)
    image = pydicom.dcmread(write_study(volume_hu.astype(np.int32) * 100, tmp_path, options)[0])
    assert (image.pixel_array.min(), image.pixel_array.max()) == (0, 4095)


@pytest.mark.parametrize(
    ("orientation", "direction", "position"),
    [
        (Orientation.HEAD_FIRST_SUPINE, [1, 0, 0, 0, 1, 0], "HFS"),
        (Orientation.FEET_FIRST_SUPINE, [-1, 0, 0, 0, 1, 0], "FFS"),
        (Orientation.PRONE, [-1, 0, 0, 0, -1, 0], "HFP"),
        (Orientation.SAGITTAL, [0, 1, 0, 0, 0, -1], "HFS"),
        (Orientation.CORONAL, [1, 0, 0, 0, 0, -1], "HFS"),
    ],
)
def test_orientation_stands_in_the_header(
    tmp_path: Path,
    volume_hu: npt.NDArray[np.int16],
    orientation: Orientation,
    direction: list[int],
    position: str,
) -> None:
    image = pydicom.dcmread(write_study(volume_hu, tmp_path, StudyOptions(orientation=orientation))[0])
    assert [float(value) for value in image.ImageOrientationPatient] == direction
    assert image.PatientPosition == position


def test_localizer_is_one_coronal_image(tmp_path: Path, volume_hu: npt.NDArray[np.int16]) -> None:
    (path,) = write_localizer(volume_hu, tmp_path)
    image = pydicom.dcmread(path)
    assert (image.ImageType[2], image.Rows, image.Columns) == ("LOCALIZER", 5, 32)


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_can_be_written(tmp_path: Path, volume_hu: npt.NDArray[np.int16], fault: Fault) -> None:
    sound = [path.read_bytes() for path in write_study(volume_hu, tmp_path / "sound")]
    broken = [
        path.read_bytes()
        for path in write_study(volume_hu, tmp_path / "broken", StudyOptions(faults=(fault,)))
    ]
    assert broken != sound


def test_slice_faults_of_a_multi_frame_image_are_refused(
    tmp_path: Path, volume_hu: npt.NDArray[np.int16]
) -> None:
    options = replace(StudyOptions(), enhanced=True, faults=(Fault.MISSING_SLICE,))
    with pytest.raises(ValueError, match="single-frame slices"):
        write_study(volume_hu, tmp_path, options)


def test_a_shorter_series_replaces_a_longer_one(tmp_path: Path, volume_hu: npt.NDArray[np.int16]) -> None:
    write_study(volume_hu, tmp_path, StudyOptions())
    write_study(volume_hu[:3], tmp_path, StudyOptions())
    assert len(list(tmp_path.iterdir())) == 3
