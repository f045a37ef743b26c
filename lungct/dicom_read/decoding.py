"""Stored values of one frame, whatever its transfer syntax; what may crash runs in another process."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, uid
from pydicom.pixels.decoders.base import get_decoder

from lungct.dicom_read.headers import Header, value_of
from lungct.dicom_read.plain import PlainFile
from lungct.records import SliceHeader

PLUGINS: dict[str, str] = {
    uid.JPEGLossless: "gdcm",
    uid.JPEGLosslessSV1: "gdcm",
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "gdcm",
    uid.JPEG2000: "gdcm",
    uid.RLELossless: "pydicom",
}
"""Decoder of every compressed transfer syntax. Named one by one because a plugin that other code registers
must not step in: nvimgcodec turns 12-bit JPEG Lossless into zeros without an error."""

PROGRAM = Path(__file__).with_name("decoder_program.py")
_LENGTH_BYTES = 8

_ATTRIBUTES = {
    "number_of_frames": "NumberOfFrames",
    "rows": "Rows",
    "columns": "Columns",
    "samples_per_pixel": "SamplesPerPixel",
    "planar_configuration": "PlanarConfiguration",
    "photometric_interpretation": "PhotometricInterpretation",
    "bits_allocated": "BitsAllocated",
    "bits_stored": "BitsStored",
    "pixel_representation": "PixelRepresentation",
}
"""What pixels need to be told, by pydicom's names."""

StoredArray = npt.NDArray[np.integer]


class DecodingError(Exception):
    """A frame cannot be decoded."""


class Decoder:
    """Decodes frames; to be closed, since decoders of compressed pixels run in processes of their own.

    There are as many as threads ask at the same time. They are C and C++, and a damaged image can make them
    crash (GDCM with JPEG Lossless does). A crash then costs the image, not the analysis.
    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self._idle: list[Any] = []

    def stored_values(self, dataset: Header, image: SliceHeader) -> StoredArray:
        """Pixels ``[rows, columns]`` as they are stored, not to be written to.

        Args:
            dataset: of the image, with pixels and transfer syntax.
            image: which of its frames, and its file.

        Raises:
            DecodingError: they are damaged, incomplete, or not what the header tells.
        """
        syntax = dataset.file_meta.TransferSyntaxUID
        plugin = PLUGINS.get(syntax, "")
        if plugin not in ("", "pydicom"):
            return self._decoded_apart(image, plugin)
        try:
            source, told = _pixels_and_attributes(dataset)
            pixels, _ = get_decoder(syntax).as_array(
                source, index=image.frame, raw=True, decoding_plugin=plugin, **told
            )
        except Exception as error:  # decoders raise what they like
            raise DecodingError from error
        return pixels

    def _decoded_apart(self, image: SliceHeader, plugin: str) -> StoredArray:
        try:
            process = self._idle.pop()
        except IndexError:
            process = _start()
        try:
            content = _answer(process, [str(image.path), image.frame, plugin])
        except (OSError, EOFError) as error:
            _end(process)
            raise DecodingError from error
        self._idle.append(process)
        try:
            pixels: StoredArray = np.load(BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise DecodingError from error
        return pixels

    def close(self) -> None:
        """End the processes, if any were needed."""
        while self._idle:
            _end(self._idle.pop())


def _pixels_and_attributes(header: Header) -> tuple[Dataset | bytes, dict[str, Any]]:
    """What pydicom decodes; of a data set it converts every attribute anew."""
    no_copy = {"view_only": True}
    if not isinstance(header, PlainFile):
        return header, no_copy
    told = {name: value_of(header, keyword) for name, keyword in _ATTRIBUTES.items()}
    known = {name: value for name, value in told.items() if value is not None}
    frames = {"number_of_frames": told["number_of_frames"] or 1}
    return value_of(header, "PixelData"), no_copy | {"pixel_keyword": "PixelData"} | known | frames


def _start() -> Any:
    """The program, with pipes; ``-P`` keeps the modules beside it from standing in for others.

    Whatever decoders print is dropped: it may quote the file.
    """
    command, pipe = [sys.executable, "-P", str(PROGRAM)], subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)  # noqa: S603


def _answer(process: Any, question: list[object]) -> bytes:
    """What the program answers to a line of JSON.

    Raises:
        OSError, EOFError: it has ended.
    """
    process.stdin.write(json.dumps(question).encode() + b"\n")
    process.stdin.flush()
    length = process.stdout.read(_LENGTH_BYTES)
    content: bytes = process.stdout.read(int.from_bytes(length, "little"))
    if len(length) < _LENGTH_BYTES or len(content) < int.from_bytes(length, "little"):
        raise EOFError
    return content


def _end(process: Any) -> None:
    process.kill()
    process.communicate()
