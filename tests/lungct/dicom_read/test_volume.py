"""The volume of well-formed series: equal to SimpleITK's in every orientation and transfer syntax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.pixels.decoders import JPEGLosslessSV1Decoder
from pydicom.uid import JPEG2000, UID, JPEGLSNearLossless
from scipy import ndimage

from lungct.dicom_read import read_volume, scan_folder
from lungct.records import Series
from lungct_research.synthesis.phantom.study_options import Orientation, Syntax

Written = Callable[..., Series]
BySimpleITK = Callable[[Path], tuple[npt.NDArray[Any], npt.NDArray[np.float64]]]

UPRIGHT = [orientation for orientation in Orientation if orientation is not Orientation.GANTRY_TILT]


def _assert_equal(series: Series, folder: Path, by_simpleitk: BySimpleITK) -> None:
    volume = read_volume(series)
    expected_hu, expected_affine = by_simpleitk(folder)
    assert np.array_equal(volume.volume_hu, expected_hu)
    assert np.abs(volume.affine_lps - expected_affine).max() < 1e-3


@pytest.mark.parametrize("reversed_files", [False, True])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_equals_simpleitk_in_every_orientation(
    written: Written,
    by_simpleitk: BySimpleITK,
    tmp_path: Path,
    orientation: Orientation,
    reversed_files: bool,
) -> None:
    series = written(orientation=orientation, reversed_files=reversed_files)
    _assert_equal(series, tmp_path / "study", by_simpleitk)


@pytest.mark.parametrize("pixels", [(True, 16), (False, 16), (True, 12), (False, 12)], ids=str)
@pytest.mark.parametrize("syntax", Syntax)
def test_equals_simpleitk_in_every_transfer_syntax(
    written: Written, by_simpleitk: BySimpleITK, tmp_path: Path, syntax: Syntax, pixels: tuple[bool, int]
) -> None:
    series = written(transfer_syntax=syntax, signed=pixels[0], bits_stored=pixels[1])
    _assert_equal(series, tmp_path / "study", by_simpleitk)


@pytest.mark.parametrize(
    ("syntax_uid", "how"), [(JPEGLSNearLossless, {"jls_error": 3}), (JPEG2000, {"j2k_cr": [4]})]
)
def test_lossy_compression_equals_simpleitk(
    written: Written,
    by_simpleitk: BySimpleITK,
    tmp_path: Path,
    chest_hu: npt.NDArray[np.int16],
    syntax_uid: UID,
    how: dict[str, Any],
) -> None:
    series = written(signed=False)
    for image in series.slices:
        dataset = pydicom.dcmread(image.path)
        dataset.compress(syntax_uid, generate_instance_uid=False, **how)
        dataset.save_as(image.path)
    _assert_equal(series, tmp_path / "study", by_simpleitk)
    assert np.abs(read_volume(series).volume_hu - chest_hu).max() > 0


@pytest.mark.parametrize("syntax", Syntax)
def test_multi_frame_image_equals_simpleitk(
    written: Written, by_simpleitk: BySimpleITK, tmp_path: Path, syntax: Syntax
) -> None:
    series = written(enhanced=True, transfer_syntax=syntax)
    _assert_equal(series, tmp_path / "study", by_simpleitk)


def test_supine_chest_comes_back_as_written(written: Written, chest_hu: npt.NDArray[np.int16]) -> None:
    volume = read_volume(written())
    assert np.array_equal(volume.volume_hu, chest_hu)
    assert volume.volume_hu.dtype == np.int16
    assert volume.spacing_mm == pytest.approx((1.25, 0.75, 0.625))
    assert volume.flags == ()


@pytest.mark.parametrize(
    "orientation",
    [Orientation.FEET_FIRST_SUPINE, Orientation.PRONE, Orientation.SAGITTAL, Orientation.CORONAL],
)
def test_anatomy_keeps_its_place(written: Written, orientation: Orientation) -> None:
    """The centre of the lungs lies at the same LPS coordinates however the slices run."""
    volume = read_volume(written(orientation=orientation))
    reference = read_volume(written())
    assert _lung_centre_mm(volume) == pytest.approx(_lung_centre_mm(reference), abs=1e-6)


def test_reversed_multi_frame_image_is_sorted(written: Written, chest_hu: npt.NDArray[np.int16]) -> None:
    assert np.array_equal(read_volume(written(enhanced=True, reversed_files=True)).volume_hu, chest_hu)


def test_fractional_rescale_gives_float32(written: Written, chest_hu: npt.NDArray[np.int16]) -> None:
    volume = read_volume(written(rescale_slope=0.5, rescale_intercept=-1000.5))
    assert volume.volume_hu.dtype == np.float32
    assert np.abs(volume.volume_hu - chest_hu).max() <= 0.5


def test_padding_value_of_tissue_hides_nothing(written: Written, chest_hu: npt.NDArray[np.int16]) -> None:
    series = written(rescale_intercept=0.0)
    for image in series.slices:
        dataset = pydicom.dcmread(image.path)
        dataset.add_new("PixelPaddingValue", "SS", 40)
        dataset.save_as(image.path)
    assert (chest_hu == 40).any()
    assert np.array_equal(read_volume(series).volume_hu, chest_hu)


def test_two_interleaved_acquisitions_are_flagged(written: Written) -> None:
    series = written()
    slices = tuple(replace(image, acquisition_number=i % 2) for i, image in enumerate(series.slices))
    assert [flag.code for flag in read_volume(replace(series, slices=slices)).flags] == [
        "ACQUISITIONS_ALTERNATE"
    ]


def test_acquisitions_one_after_the_other_are_no_matter(written: Written) -> None:
    series = written()
    slices = tuple(replace(image, acquisition_number=i // 4) for i, image in enumerate(series.slices))
    assert read_volume(replace(series, slices=slices)).flags == ()


@pytest.mark.parametrize(("signed", "padding"), [(True, -2000), (False, 0), (False, 63536)])
@pytest.mark.parametrize("syntax", [Syntax.EXPLICIT, Syntax.IMPLICIT])
def test_padding_reads_as_air(written: Written, signed: bool, padding: int, syntax: Syntax) -> None:
    volume = read_volume(written(signed=signed, padding_value=padding, transfer_syntax=syntax))
    assert volume.volume_hu.dtype == np.int16
    assert (volume.volume_hu[:, :5, :5] == -1024).all()


def test_padding_may_be_unsigned_where_pixels_are_signed(written: Written) -> None:
    series = written(padding_value=-2000)
    for image in series.slices:
        content = image.path.read_bytes()
        signed, unsigned = b"\x28\x00\x20\x01SS", b"\x28\x00\x20\x01US"
        assert signed in content
        image.path.write_bytes(content.replace(signed, unsigned))
    assert (read_volume(series).volume_hu[:, :5, :5] == -1024).all()


def test_gantry_tilt_is_sheared_upright(written: Written) -> None:
    volume = read_volume(written(orientation=Orientation.GANTRY_TILT))
    reference = read_volume(written())
    assert [flag.code for flag in volume.flags] == ["GANTRY_TILT_RESAMPLED"]
    axes = volume.affine_lps[:3, :3] / volume.spacing_mm
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-5)
    to_reference = np.linalg.inv(reference.affine_lps) @ volume.affine_lps
    expected = ndimage.affine_transform(
        reference.volume_hu.astype(float),
        to_reference,
        output_shape=volume.volume_hu.shape,
        order=1,
        cval=np.nan,
    )
    inside = ndimage.binary_erosion(np.isfinite(expected), iterations=2)
    assert np.median(np.abs(volume.volume_hu - expected)[inside]) < 6
    assert _lung_centre_mm(volume) == pytest.approx(_lung_centre_mm(reference), abs=0.2)


def test_decoder_registered_by_other_code_does_not_step_in(
    written: Written, chest_hu: npt.NDArray[np.int16], monkeypatch: pytest.MonkeyPatch
) -> None:
    rogue = {"rogue": lambda _, runner: bytes(runner.frame_length())}
    available = {**rogue, **JPEGLosslessSV1Decoder._available}
    monkeypatch.setattr(JPEGLosslessSV1Decoder, "_available", available)
    series = written(transfer_syntax=Syntax.JPEG_LOSSLESS_SV1)
    assert np.array_equal(read_volume(series).volume_hu, chest_hu)


@pytest.mark.parametrize("case", ["covid-P001", "cap-cap001", "normal-normal001"])
def test_real_ct_equals_simpleitk(real_ct: Path, by_simpleitk: BySimpleITK, case: str) -> None:
    folder = real_ct / "dicom" / case
    (series,) = scan_folder(folder).series
    _assert_equal(series, folder, by_simpleitk)


def _lung_centre_mm(volume: Any) -> npt.NDArray[np.float64]:
    lung = (volume.volume_hu > -925) & (volume.volume_hu < -700)
    return np.asarray((volume.affine_lps @ (*np.argwhere(lung).mean(axis=0), 1))[:3])
