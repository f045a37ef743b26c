"""What faults do to a volume: repaired with a flag, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.uid import JPEGExtended12Bit

from lungct.dicom_read import read_volume, scan_folder
from lungct.dicom_read.plausibility import flag_implausible_hu, flag_unequal_slices
from lungct.errors import GeometryError, InputError, PixelDataError
from lungct.records import CtVolume, Series
from lungct_research.synthesis.phantom.study_options import Fault, Syntax

Written = Callable[..., Series]


def _codes(volume: CtVolume) -> list[str]:
    return [flag.code for flag in volume.flags]


@pytest.mark.fault("geometry", "A slice twice", "flag `DUPLICATE_SLICES`, one is used")
def test_copy_of_a_slice_is_left_out(written: Written, chest_hu: npt.NDArray[np.int16]) -> None:
    volume = read_volume(written(faults=(Fault.DUPLICATE_SLICE,)))
    assert np.array_equal(volume.volume_hu, chest_hu)
    assert _codes(volume) == ["DUPLICATE_SLICES"]


@pytest.mark.fault("geometry", "A slice missing", "flag `SLICES_MISSING`, interpolated")
def test_missing_slice_is_interpolated(written: Written, chest_hu: npt.NDArray[np.int16]) -> None:
    volume = read_volume(written(faults=(Fault.MISSING_SLICE,)))
    assert _codes(volume) == ["SLICES_MISSING"]
    others = np.arange(20) != 10
    assert np.array_equal(volume.volume_hu[others], chest_hu[others])
    assert np.array_equal(volume.volume_hu[10], np.rint((chest_hu[9] + chest_hu[11]) / 2))


@pytest.mark.fault("geometry", "Uneven spacing", "flag `RESAMPLED_UNEVEN_SPACING`")
def test_uneven_spacing_is_resampled(written: Written, chest_hu: npt.NDArray[np.int16]) -> None:
    volume = read_volume(written(faults=(Fault.UNEVEN_SPACING,)))
    assert _codes(volume) == ["RESAMPLED_UNEVEN_SPACING"]
    assert volume.volume_hu.shape == chest_hu.shape
    assert volume.spacing_mm[0] == pytest.approx(1.25)
    assert np.array_equal(volume.volume_hu[:10], chest_hu[:10])


def test_faults_are_repaired_together(written: Written) -> None:
    volume = read_volume(written(faults=(Fault.MISSING_SLICE, Fault.DUPLICATE_SLICE)))
    assert _codes(volume) == ["DUPLICATE_SLICES", "SLICES_MISSING"]


@pytest.mark.fault("pixels", "HU shifted by a wrong intercept", "flag `LOW_HU_PLAUSIBILITY`")
def test_wrong_offset_is_flagged(written: Written) -> None:
    assert _codes(read_volume(written(faults=(Fault.HU_OFFSET,)))) == ["LOW_HU_PLAUSIBILITY"]


@pytest.mark.parametrize(
    ("fault", "error", "code", "victim"),
    [
        (Fault.SECOND_PHASE_SLICE, GeometryError, "SAME_POSITION", "CT001_0011.dcm and CT001_0021.dcm"),
        (Fault.WIDE_GAP, GeometryError, "GAP_TOO_WIDE", "CT001_0010.dcm and CT001_0011.dcm"),
        (Fault.MISSING_RESCALE, PixelDataError, "RESCALE_MISSING", "CT001_0011.dcm"),
        (Fault.CONSTANT_PIXELS, PixelDataError, "CONSTANT_PIXELS", "CT001_0011.dcm"),
        (Fault.TRUNCATED_FILE, PixelDataError, "UNDECODABLE", "CT001_0011.dcm"),
    ],
)
@pytest.mark.fault("geometry", "Series with {fault}", "exit code 4, `{code}` names {victim}")
def test_fault_is_refused_in_one_line_that_names_the_file(
    written: Written, fault: Fault, error: type[InputError], code: str, victim: str
) -> None:
    with pytest.raises(error) as caught:
        read_volume(written(faults=(fault,)))
    assert caught.value.code == code
    assert victim in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "codes", "victim"),
    [
        (Fault.MIXED_ORIENTATIONS, ["ODD_IMAGES_LEFT_OUT", "SLICES_MISSING"], "CT001_0011.dcm"),
        (Fault.MIXED_SIZES, ["ODD_IMAGES_LEFT_OUT", "SLICES_MISSING"], "CT001_0011.dcm"),
        (Fault.MIXED_PIXEL_SPACINGS, ["ODD_IMAGES_LEFT_OUT", "SLICES_MISSING"], "CT001_0011.dcm"),
        (Fault.MISSING_POSITION, ["ODD_IMAGES_LEFT_OUT", "SLICES_MISSING"], "CT001_0011.dcm"),
        (Fault.LOCALIZER_INSIDE, ["ODD_IMAGES_LEFT_OUT"], "CT001_0001.dcm"),
    ],
)
@pytest.mark.fault("geometry", "Series with {fault}", "flags `{codes}`; {victim} is left out by name")
def test_odd_image_is_left_out_and_named(
    written: Written, tmp_path: Path, fault: Fault, codes: list[str], victim: str
) -> None:
    volume = read_volume(written(faults=(fault,)))
    assert _codes(volume) == codes
    assert victim in volume.flags[0].message
    assert [(file.name, file.reason.code) for file in scan_folder(tmp_path / "study").skipped] == [
        (victim, "ODD_IMAGE")
    ]


@pytest.mark.filterwarnings("ignore:End of file reached:UserWarning")
@pytest.mark.parametrize("syntax", Syntax)
@pytest.mark.fault("files", "Truncated file, {syntax}", "exit code 4, `UNDECODABLE` names it")
def test_truncated_file_is_refused_in_every_transfer_syntax(written: Written, syntax: Syntax) -> None:
    with pytest.raises(PixelDataError, match=r"CT001_0011\.dcm"):
        read_volume(written(faults=(Fault.TRUNCATED_FILE,), transfer_syntax=syntax))


@pytest.mark.fault(
    "files",
    "File that vanishes between scan and reading",
    "exit code 4, `PixelDataError` names it",
)
def test_vanished_file_is_refused(written: Written) -> None:
    series = written()
    series.slices[4].path.unlink()
    with pytest.raises(PixelDataError, match=r"CT001_0005\.dcm can no longer be read"):
        read_volume(series)


@pytest.mark.parametrize("fault", [Fault.ZERO_BYTE_FILE, Fault.TEXT_FILE])
@pytest.mark.fault(
    "files",
    "Slice replaced by a {fault}",
    "flag `SLICES_MISSING`, the slice is interpolated",
)
def test_file_that_is_no_dicom_leaves_a_missing_slice(written: Written, fault: Fault) -> None:
    assert _codes(read_volume(written(faults=(fault,)))) == ["SLICES_MISSING"]


@pytest.mark.parametrize(
    ("keyword", "value", "code"),
    [("RescaleType", "MGML", "NOT_HOUNSFIELD"), ("SamplesPerPixel", 3, "UNDECODABLE")],
)
@pytest.mark.fault("pixels", "{keyword} = {value}", "exit code 4, `{code}` names the file")
def test_other_pixels_than_hounsfield_units_are_refused(
    written: Written, keyword: str, value: object, code: str
) -> None:
    series = written()
    dataset = pydicom.dcmread(series.slices[4].path)
    setattr(dataset, keyword, value)
    dataset.save_as(series.slices[4].path)
    with pytest.raises(PixelDataError, match=r"CT001_0005\.dcm") as caught:
        read_volume(series)
    assert caught.value.code == code


@pytest.mark.parametrize("transfer_syntax_uid", [JPEGExtended12Bit, "1.2.840.113619.5.2"])
@pytest.mark.fault("pixels", "Transfer syntax {transfer_syntax_uid}", "exit code 4: send it uncompressed")
def test_encoding_without_a_safe_decoder_is_refused(written: Written, transfer_syntax_uid: str) -> None:
    series = written(transfer_syntax=Syntax.JPEG_LOSSLESS)
    dataset = pydicom.dcmread(series.slices[0].path)
    dataset.file_meta.TransferSyntaxUID = transfer_syntax_uid
    dataset.save_as(series.slices[0].path)
    with pytest.raises(PixelDataError, match="is not supported; send it uncompressed"):
        read_volume(series)


@pytest.mark.fault("headers", "File header without transfer syntax", "exit code 4: export it again")
def test_missing_transfer_syntax_is_refused(written: Written) -> None:
    series = written()
    content = series.slices[0].path.read_bytes()
    element = content.index(b"\x02\x00\x10\x00UI")
    end = element + 8 + int.from_bytes(content[element + 6 : element + 8], "little")
    group_length = int.from_bytes(content[140:144], "little") - (end - element)
    series.slices[0].path.write_bytes(
        content[:140] + group_length.to_bytes(4, "little") + content[144:element] + content[end:]
    )
    with pytest.raises(PixelDataError, match="does not state its transfer syntax; export it again"):
        read_volume(series)


@pytest.mark.fault("pixels", "A frame without rescale slope", "exit code 4, names the frame")
def test_missing_rescale_of_a_frame_is_refused(written: Written) -> None:
    series = written(enhanced=True)
    dataset = pydicom.dcmread(series.slices[0].path)
    del dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    dataset.save_as(series.slices[0].path)
    with pytest.raises(PixelDataError, match="frame 1 lacks Rescale Slope"):
        read_volume(series)


def test_rescale_of_each_frame_counts(written: Written, chest_hu: npt.NDArray[np.int16]) -> None:
    series = written(enhanced=True)
    dataset = pydicom.dcmread(series.slices[0].path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        transform = pydicom.Dataset()
        transform.RescaleSlope, transform.RescaleIntercept, transform.RescaleType = 1, -1024 + number, "HU"
        frame.PixelValueTransformationSequence = [transform]
    del shared.PixelValueTransformationSequence
    dataset.save_as(series.slices[0].path)
    assert np.array_equal(read_volume(series).volume_hu, chest_hu + np.arange(20)[:, None, None])


@pytest.mark.parametrize("offset_hu", [0, -30, 60])
def test_small_offsets_are_plausible(chest_hu: npt.NDArray[np.int16], offset_hu: int) -> None:
    assert flag_implausible_hu(chest_hu + np.int16(offset_hu)) == ()


@pytest.mark.parametrize("offset_hu", [-1024, -250, 300, 1024])
@pytest.mark.fault("pixels", "All HU {offset_hu} off", "flag `LOW_HU_PLAUSIBILITY`")
def test_large_offsets_are_not_plausible(chest_hu: npt.NDArray[np.int16], offset_hu: int) -> None:
    (flag,) = flag_implausible_hu(chest_hu + np.int16(offset_hu))
    assert flag.code == "LOW_HU_PLAUSIBILITY"


def test_slices_that_agree_are_not_flagged(chest_hu: npt.NDArray[np.int16]) -> None:
    assert flag_unequal_slices(chest_hu) == ()


@pytest.mark.parametrize(
    "wrong",
    [lambda hu: hu + 200, lambda hu: np.where(hu < -900, 0, hu), lambda hu: -hu],
    ids=["offset", "wrapped", "inverted"],
)
@pytest.mark.fault("pixels", "Some slices with other Hounsfield units", "flag `HU_DIFFER_BETWEEN_SLICES`")
def test_slices_with_other_hounsfield_units_are_flagged(
    chest_hu: npt.NDArray[np.int16], wrong: Callable[[npt.NDArray[np.int16]], npt.NDArray[np.int16]]
) -> None:
    mixed = chest_hu.copy()
    mixed[7:9] = wrong(mixed[7:9])
    (flag,) = flag_unequal_slices(mixed)
    assert flag.code == "HU_DIFFER_BETWEEN_SLICES"
    assert "2 places" in flag.message
