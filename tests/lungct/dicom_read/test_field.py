"""Series as scanners, archives, anonymisers and converters leave them: read right, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import UID

from lungct.dicom_read import read_chest, read_volume, scan_folder, select_series
from lungct.dicom_read.descriptions import is_animal, says_chest
from lungct.errors import NoEligibleSeriesError, PixelDataError
from lungct.records import CtVolume, Series
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions

Volume = npt.NDArray[np.int16]
Written = Callable[..., Series]
Change = Callable[[pydicom.Dataset, int], object]


@pytest.fixture
def changed(tmp_path: Path, written: Written) -> Callable[..., tuple[Series, ...]]:
    """Writes the chest, changes every header, and gives all series of the folder."""

    def write(change: Change, **options: Any) -> tuple[Series, ...]:
        written(**options)
        for number, path in enumerate(sorted((tmp_path / "study").iterdir())):
            dataset = pydicom.dcmread(path)
            change(dataset, number)
            pydicom.dcmwrite(path, dataset, enforce_file_format=False)
        return scan_folder(tmp_path / "study").series

    return write


def codes(volume: CtVolume) -> list[str]:
    return [flag.code for flag in volume.flags]


def put_text(dataset: pydicom.Dataset, keyword: str, value: str) -> None:
    """Store a decimal string as it is."""
    content = value.encode() + b" " * (len(value) % 2)
    tag = Tag(keyword)
    dataset[tag] = RawDataElement(tag, "DS", len(content), content, 0, False, True)


@pytest.mark.parametrize(
    "keyword", ["ImagePositionPatient", "PixelSpacing", "SliceThickness", "RescaleSlope", "RescaleIntercept"]
)
@pytest.mark.fault("headers", "{keyword} with decimal commas and blanks", "read as points")
def test_decimal_commas_are_points(
    changed: Callable[..., tuple[Series, ...]], chest_hu: Volume, keyword: str
) -> None:
    def change(dataset: pydicom.Dataset, _: int) -> None:
        values = str(dataset[keyword].value).strip("[]").replace("'", "").split(", ")
        put_text(dataset, keyword, "\\".join(f" {value.replace('.', ',')}" for value in values))

    (series,) = changed(change)
    assert series.slice_thickness_mm == 1.25
    volume = read_volume(series)
    assert np.array_equal(volume.volume_hu, chest_hu)
    assert volume.spacing_mm == pytest.approx((1.25, 0.75, 0.625))


@pytest.mark.parametrize(
    "rescale_type",
    ["Houndsfield Unit", "HOUNSFIELD UNITS", "Hounsfield", "hu ", "Hounsfield unit (HU)", "US", "CT number"],
)
@pytest.mark.fault("headers", "Rescale Type `{rescale_type}`", "read as HU")
def test_words_for_hounsfield_units(
    changed: Callable[..., tuple[Series, ...]], chest_hu: Volume, rescale_type: str
) -> None:
    (series,) = changed(lambda dataset, _: setattr(dataset, "RescaleType", rescale_type))
    assert np.array_equal(read_volume(series).volume_hu, chest_hu)


@pytest.mark.parametrize("rescale_type", ["HU_MOD", "ED", "mg/ml", "Z_EFF", "PCT"])
@pytest.mark.fault("pixels", "Rescale Type `{rescale_type}`", "exit code 4, `NOT_HOUNSFIELD`")
def test_other_units_are_refused(changed: Callable[..., tuple[Series, ...]], rescale_type: str) -> None:
    (series,) = changed(lambda dataset, _: setattr(dataset, "RescaleType", rescale_type))
    with pytest.raises(PixelDataError) as caught:
        read_volume(series)
    assert caught.value.code == "NOT_HOUNSFIELD"


@pytest.mark.parametrize("numbers", [range(20), [7]])
@pytest.mark.fault("pixels", "Rescale Slope 0", "exit code 4, `RESCALE_SLOPE_ZERO` names the file")
def test_slope_of_zero_is_refused(
    changed: Callable[..., tuple[Series, ...]], numbers: range | list[int]
) -> None:
    (series,) = changed(
        lambda dataset, number: setattr(dataset, "RescaleSlope", "0") if number in numbers else None
    )
    with pytest.raises(PixelDataError, match=f"CT001_{numbers[0] + 1:04d}.dcm has Rescale Slope 0") as caught:
        read_volume(series)
    assert caught.value.code == "RESCALE_SLOPE_ZERO"


@pytest.mark.parametrize("group", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", ""])
@pytest.mark.fault("headers", "Enhanced CT with its rescale in `{group}`, or at the top level", "read")
def test_rescale_of_enhanced_ct_may_stand_anywhere(
    changed: Callable[..., tuple[Series, ...]], chest_hu: Volume, group: str
) -> None:
    def change(dataset: pydicom.Dataset, _: int) -> None:
        shared = dataset.SharedFunctionalGroupsSequence[0]
        transform = shared.PixelValueTransformationSequence[0]
        del shared.PixelValueTransformationSequence
        for owner in dataset[group].value if group else ():
            owner.PixelValueTransformationSequence = [transform]
        if not group:
            dataset.update(transform)

    (series,) = changed(change, enhanced=True)
    assert np.array_equal(read_volume(series).volume_hu, chest_hu)


def words(*, signed: bool, bits: int) -> dict[str, Any]:
    """Header of a slice whose words were made by something else than the phantom."""
    return {
        "PixelRepresentation": int(signed),
        "BitsStored": bits,
        "HighBit": bits - 1,
        "RescaleIntercept": "0" if signed else "-1024",
    }


def store(dataset: pydicom.Dataset, stored: npt.NDArray[Any], **header: Any) -> None:
    dataset.PixelData = stored.astype("<u2").tobytes()
    for keyword, value in header.items():
        setattr(dataset, keyword, value)


def bits_follow_the_largest_value(dataset: pydicom.Dataset, chest_hu: Volume) -> None:
    store(dataset, chest_hu, **words(signed=True, bits=int(chest_hu.max()).bit_length() + 1))


def twelve_bits_without_sign_extension(dataset: pydicom.Dataset, chest_hu: Volume) -> None:
    store(dataset, chest_hu & 0x0FFF, **words(signed=True, bits=12))


def unsigned_that_are_called_signed(dataset: pydicom.Dataset, chest_hu: Volume) -> None:
    header = words(signed=True, bits=12) | {"RescaleIntercept": "-1024"}
    store(dataset, (chest_hu + 1024).clip(0, 4095), **header)


def signed_that_are_called_unsigned(dataset: pydicom.Dataset, chest_hu: Volume) -> None:
    header = words(signed=False, bits=16) | {"RescaleIntercept": "0"}
    store(dataset, chest_hu, **header)


def overlay_in_the_high_bits(dataset: pydicom.Dataset, chest_hu: Volume) -> None:
    stored = (chest_hu + 1024).astype(np.uint16)
    stored[::3] |= 0x8000
    store(dataset, stored, **words(signed=False, bits=12))


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        (bits_follow_the_largest_value, ["BITS_STORED_CONTRADICTED"]),
        (twelve_bits_without_sign_extension, []),
        (unsigned_that_are_called_signed, []),
        (signed_that_are_called_unsigned, ["BITS_STORED_CONTRADICTED"]),
        (overlay_in_the_high_bits, ["BITS_STORED_CONTRADICTED"]),
    ],
)
@pytest.mark.fault("pixels", "Stored words: {change}", "the right HU; flags: `{flags}`")
def test_stored_words_are_read_right(
    changed: Callable[..., tuple[Series, ...]],
    chest_hu: Volume,
    change: Callable[[pydicom.Dataset, Volume], None],
    flags: list[str],
) -> None:
    (series,) = changed(lambda dataset, number: change(dataset, chest_hu[number]))
    volume = read_volume(series)
    assert np.array_equal(volume.volume_hu, chest_hu)
    assert codes(volume) == flags


def test_bone_among_unsigned_words_that_are_called_signed_stays_bone(
    changed: Callable[..., tuple[Series, ...]], chest_hu: Volume
) -> None:
    with_bone = chest_hu.copy()
    with_bone[:, 20:24, 4:8] = np.arange(1200, 1216).reshape(4, 4)
    (series,) = changed(lambda dataset, number: unsigned_that_are_called_signed(dataset, with_bone[number]))
    volume = read_volume(series)
    assert np.array_equal(volume.volume_hu, with_bone)
    assert codes(volume) == ["BITS_STORED_CONTRADICTED"]


@pytest.mark.parametrize("has_tag", [False, True])
@pytest.mark.parametrize("padding", [-2000, -3024, -32768])
@pytest.mark.fault("pixels", "Padding {padding}, with its tag: {has_tag}", "air of -1024 HU")
def test_below_air_is_air(
    changed: Callable[..., tuple[Series, ...]], chest_hu: Volume, padding: int, has_tag: bool
) -> None:
    def change(dataset: pydicom.Dataset, number: int) -> None:
        stored = chest_hu[number].copy()
        stored[:6] = padding
        store(dataset, stored, **words(signed=True, bits=16))
        if has_tag:
            dataset.add_new("PixelPaddingValue", "SS", padding)

    (series,) = changed(change)
    expected = chest_hu.copy()
    expected[:, :6] = -1024
    volume = read_volume(series)
    assert np.array_equal(volume.volume_hu, expected)
    assert codes(volume) == []


@pytest.mark.fault("pixels", "Air that became water in some slices", "flag `HU_DIFFER_BETWEEN_SLICES`")
def test_air_that_differs_from_slice_to_slice_is_flagged(
    changed: Callable[..., tuple[Series, ...]], chest_hu: Volume
) -> None:
    (series,) = changed(
        lambda dataset, number: store(
            dataset,
            chest_hu[number].clip(0) if number % 5 == 0 else chest_hu[number],
            **words(signed=True, bits=16),
        )
    )
    assert "HU_DIFFER_BETWEEN_SLICES" in codes(read_volume(series))


def no_class(dataset: pydicom.Dataset, _: int) -> None:
    del dataset.SOPClassUID


def no_instance(dataset: pydicom.Dataset, _: int) -> None:
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    del dataset.SOPInstanceUID


@pytest.mark.parametrize("change", [no_class, no_instance])
@pytest.mark.fault("headers", "{change} UID but in the file header", "that of the file header stands in")
def test_file_header_stands_in(
    changed: Callable[..., tuple[Series, ...]], chest_hu: Volume, change: Change
) -> None:
    (series,) = changed(change)
    assert np.array_equal(read_volume(series).volume_hu, chest_hu)
    assert series.has_own_identifiers


def same_instance_uid(dataset: pydicom.Dataset, _: int) -> None:
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")


def some_doubled(dataset: pydicom.Dataset, number: int) -> None:
    if number in (3, 12):
        same_instance_uid(dataset, number)


def nothing_but_uuids(dataset: pydicom.Dataset, number: int) -> None:
    dataset.StudyInstanceUID = "00000000-0000-0000-0000-00000000000a"
    dataset.SeriesInstanceUID = "00000000-0000-0000-0000-00000000000b"
    dataset.SOPInstanceUID = f"00000000-0000-0000-0000-0000000000{number:02x}"
    dataset.FrameOfReferenceUID = "frame"


def emptied(dataset: pydicom.Dataset, _: int) -> None:
    dataset.SOPInstanceUID = dataset.StudyInstanceUID = ""
    dataset.file_meta.pop("MediaStorageSOPInstanceUID", None)


def no_series(dataset: pydicom.Dataset, _: int) -> None:
    del dataset.SeriesInstanceUID, dataset.StudyInstanceUID


@pytest.mark.parametrize("change", [same_instance_uid, some_doubled, nothing_but_uuids, emptied, no_series])
@pytest.mark.fault("headers", "UIDs: {change}", "flag `UIDS_REPLACED`; others, always the same, stand in")
def test_uids_that_are_none_are_replaced(
    changed: Callable[..., tuple[Series, ...]], chest_hu: Volume, tmp_path: Path, change: Change
) -> None:
    (series,) = changed(change)
    (again,) = scan_folder(tmp_path / "study").series
    volume = read_volume(series)
    assert np.array_equal(volume.volume_hu, chest_hu)
    assert codes(volume) == ["UIDS_REPLACED"]
    assert not series.has_own_identifiers
    uids = [image.sop_instance_uid for image in series.slices]
    assert len(set(uids)) == len(uids)
    assert all(UID(uid).is_valid for uid in (series.study_uid, series.series_uid, *uids))
    assert uids == [image.sop_instance_uid for image in again.slices]


@pytest.mark.fault("headers", "Study and Series UID of its own in every image", "exit code 3, one sentence")
def test_uid_per_image_is_explained(changed: Callable[..., tuple[Series, ...]], tmp_path: Path) -> None:
    def change(dataset: pydicom.Dataset, number: int) -> None:
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.1.{number}", f"1.2.2.{number}"

    assert len(changed(change)) == 20
    with pytest.raises(NoEligibleSeriesError, match="each of 20 images has a Series Instance UID of its own"):
        read_chest(select_series(scan_folder(tmp_path / "study")))


@pytest.mark.parametrize(
    "attributes",
    [
        {"PatientSpeciesDescription": "Canine"},
        {"PatientBreedDescription": "Labrador"},
        {"PatientSexNeutered": "ALTERED"},
        {"ResponsiblePersonRole": "OWNER"},
    ],
)
@pytest.mark.fault("series", "Patient with {attributes}", "exit code 3, `NOT_HUMAN`")
def test_animal_is_known(attributes: dict[str, str]) -> None:
    dataset = pydicom.Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    assert is_animal(dataset)


@pytest.mark.parametrize("code", [("337915000", False), ("L-85B00", False), ("448771007", True)])
def test_species_code_is_known(code: tuple[str, bool]) -> None:
    item, dataset = pydicom.Dataset(), pydicom.Dataset()
    item.CodeValue = code[0]
    dataset.PatientSpeciesCodeSequence = [item]
    assert is_animal(dataset) == code[1]


@pytest.mark.parametrize("species", ["", "Homo sapiens", "HUMAN", "unknown"])
def test_human_is_no_animal(species: str) -> None:
    dataset = pydicom.Dataset()
    dataset.PatientSpeciesDescription = species
    assert not is_animal(dataset)


@pytest.mark.parametrize(
    ("series", "study", "expected"),
    [
        ("Thorax 1.0 Bl57", "CT Thorax", True),
        ("1.0 Bl57", "CT Thorax Abdomen", True),
        ("Abdomen 1.0", "CT Thorax Abdomen", False),
        ("1.0", "", False),
    ],
)
def test_descriptions_say_chest(series: str, study: str, expected: bool) -> None:
    dataset = pydicom.Dataset()
    dataset.SeriesDescription, dataset.StudyDescription = series, study
    assert says_chest(dataset) == expected


def second_acquisition(dataset: pydicom.Dataset) -> None:
    dataset.AcquisitionNumber = 2


def other_contrast_agent(dataset: pydicom.Dataset) -> None:
    dataset.ContrastBolusAgent = "Iomeprol"


def other_phase(dataset: pydicom.Dataset) -> None:
    dataset.NominalPercentageOfCardiacPhase = 75


def other_kernel(dataset: pydicom.Dataset) -> None:
    dataset.ConvolutionKernel = "SOFT"


def other_time(dataset: pydicom.Dataset) -> None:
    dataset.AcquisitionTime = "120500"


def nothing_else(_: pydicom.Dataset) -> None:
    """Positions repeat."""


@pytest.mark.parametrize("shift_mm", [0.0, 0.5])
@pytest.mark.parametrize(
    "differ",
    [second_acquisition, other_contrast_agent, other_phase, other_kernel, other_time, nothing_else],
)
@pytest.mark.fault("series", "Two passes under one series UID: {differ}", "two series, flag `SERIES_SPLIT`")
def test_passes_are_told_apart(
    tmp_path: Path,
    chest_hu: Volume,
    options: StudyOptions,
    differ: Callable[[pydicom.Dataset], None],
    shift_mm: float,
) -> None:
    for path in write_study(chest_hu, tmp_path / "study", options)[:8]:
        dataset = pydicom.dcmread(path)
        position = [float(value) for value in dataset.ImagePositionPatient]
        dataset.ImagePositionPatient = [*position[:2], position[2] + shift_mm]
        dataset.InstanceNumber += 500
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{dataset.SOPInstanceUID}.7"
        dataset.PixelData = bytes(reversed(dataset.PixelData))
        differ(dataset)
        dataset.save_as(path.with_name(f"second_{path.name}"))
    first, second = sorted(scan_folder(tmp_path / "study").series, key=lambda one: -len(one.slices))
    assert (len(first.slices), len(second.slices)) == (20, 8)
    volume = read_volume(first)
    assert np.array_equal(volume.volume_hu, chest_hu)
    assert codes(volume) == ["SERIES_SPLIT"]
