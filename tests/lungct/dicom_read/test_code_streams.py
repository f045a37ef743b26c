"""What compressed images say about themselves, by an encoder of other people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from lungct.dicom_read import read_volume, scan_folder
from lungct.dicom_read.code_streams import CodeStream, read_code_stream
from lungct.errors import PixelDataError
from lungct.records import Series

ROWS, COLUMNS = 64, 48
IMAGE = np.add.outer(np.arange(ROWS), np.arange(COLUMNS)).astype(np.uint16)

ENCODERS: dict[tuple[str, bool], Callable[[Any], bytes]] = {
    ("JPEG-LS", False): imagecodecs.jpegls_encode,
    ("JPEG-LS", True): lambda image: imagecodecs.jpegls_encode(image, level=2),
    ("JPEG Lossless", False): lambda image: imagecodecs.ljpeg_encode(image, bitspersample=16),
    ("JPEG", True): lambda image: imagecodecs.jpeg8_encode(image.astype(np.uint8)),
    ("JPEG 2000", False): lambda image: imagecodecs.jpeg2k_encode(image, codecformat="j2k", reversible=True),
    ("JPEG 2000", True): lambda image: imagecodecs.jpeg2k_encode(
        image, codecformat="j2k", reversible=False, level=80
    ),
    ("HTJ2K", False): lambda image: imagecodecs.htj2k_encode(image, reversible=True),
    ("HTJ2K", True): lambda image: imagecodecs.htj2k_encode(image, reversible=False),
}
"""By standard, and whether something is lost."""

every_encoding = pytest.mark.parametrize("encoding", ENCODERS, ids=lambda one: f"{one[0]}, lossy: {one[1]}")


@every_encoding
def test_size_and_loss_are_read(encoding: tuple[str, bool]) -> None:
    _, is_lossy = encoding
    assert read_code_stream(ENCODERS[encoding](IMAGE)) == CodeStream(ROWS, COLUMNS, 1, is_lossy)


@every_encoding
def test_header_may_be_cut_anywhere(encoding: tuple[str, bool]) -> None:
    whole = ENCODERS[encoding](IMAGE)
    for length in range(100):
        assert read_code_stream(whole[:length]) in (None, read_code_stream(whole))


def encoded(series: Series, syntax: str, encode: Callable[[Any], bytes]) -> Series:
    """The same series with its pixels, as unsigned numbers, in another encoding."""
    for image in series.slices:
        dataset = pydicom.dcmread(image.path)
        stored = dataset.pixel_array.astype(int) + int(dataset.RescaleIntercept) + 1024
        write_encoded(dataset, syntax, encode(stored.astype(np.uint16)))
        dataset.save_as(image.path)
    (found,) = scan_folder(series.slices[0].path.parent).series
    return found


def write_encoded(dataset: Dataset, syntax: str, code_stream: bytes) -> None:
    dataset.pop("PixelPaddingValue", None)
    dataset.PixelRepresentation, dataset.RescaleIntercept = 0, -1024
    dataset.PixelData = encapsulate([code_stream])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)


@pytest.mark.fault("pixels", "{syntax}", "decoded")
@pytest.mark.parametrize(
    "syntax", [uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K], ids=lambda one: one.name
)
def test_high_throughput_jpeg_2000_is_decoded(written: Callable[..., Series], syntax: uid.UID) -> None:
    plain = written()
    expected_hu = read_volume(plain).volume_hu.copy()
    assert np.array_equal(
        read_volume(encoded(plain, syntax, ENCODERS["HTJ2K", False])).volume_hu, expected_hu
    )


@pytest.mark.fault("pixels", "{standard} with loss that no header admits", "flag `LOSSY_COMPRESSION`")
@pytest.mark.parametrize(
    ("standard", "syntax"),
    [("JPEG-LS", uid.JPEGLSNearLossless), ("JPEG 2000", uid.JPEG2000), ("HTJ2K", uid.HTJ2K)],
)
def test_loss_is_known_from_the_pixels(
    written: Callable[..., Series], standard: str, syntax: uid.UID
) -> None:
    lossy = encoded(written(), syntax, ENCODERS[standard, True])
    assert [flag.code for flag in read_volume(lossy).flags] == ["LOSSY_COMPRESSION"]


@pytest.mark.fault("pixels", "{standard} of 60000 x 60000 pixels in a small image", "exit code 4")
@pytest.mark.parametrize(
    ("standard", "syntax", "marker", "at"),
    [
        ("JPEG-LS", uid.JPEGLSLossless, b"\xff\xf7", 5),
        ("JPEG Lossless", uid.JPEGLosslessSV1, b"\xff\xc3", 5),
    ],
)
def test_code_stream_larger_than_its_header_says_is_not_decoded(
    written: Callable[..., Series], standard: str, syntax: uid.UID, marker: bytes, at: int
) -> None:
    series = written()
    path: Path = series.slices[0].path
    code_stream = bytearray(ENCODERS[standard, False](IMAGE))
    begin = code_stream.index(marker) + at
    code_stream[begin : begin + 4] = (60_000).to_bytes(2) * 2
    dataset = pydicom.dcmread(path)
    write_encoded(dataset, syntax, bytes(code_stream))
    dataset.save_as(path)
    (found,) = scan_folder(path.parent).series
    with pytest.raises(PixelDataError, match="60000 x 60000") as caught:
        read_volume(found)
    assert caught.value.code == "CODE_STREAM_CONTRADICTS"
