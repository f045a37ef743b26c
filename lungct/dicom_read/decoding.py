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

    def stored_values(self, dataset: Dataset, image: SliceHeader) -> StoredArray:
        """Pixels ``[rows, columns]`` as they are stored.

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
            pixels, _ = get_decoder(syntax).as_array(
                dataset, index=image.frame, raw=True, decoding_plugin=plugin
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
