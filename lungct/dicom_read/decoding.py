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

StoredArray = npt.NDArray[np.integer]


class DecodingError(Exception):
    """A frame cannot be decoded."""


class Decoder:
    """Decodes frames; to be closed, since decoders of compressed pixels run in a process of their own.

    They are C and C++, and a damaged image can make them crash (GDCM with JPEG Lossless does). A crash then
    costs the image, not the analysis.
    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: Any = None

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
        process = self._process = self._process or _start()
        try:
            process.stdin.write(json.dumps([str(image.path), image.frame, plugin]).encode() + b"\n")
            process.stdin.flush()
            n_bytes = int.from_bytes(process.stdout.read(8), "little")
            if n_bytes:
                pixels: StoredArray = np.load(BytesIO(process.stdout.read(n_bytes)), allow_pickle=False)
                return pixels
        except (OSError, ValueError, EOFError) as error:
            self.close()
            raise DecodingError from error
        raise DecodingError

    def close(self) -> None:
        """End the process, if one was needed."""
        if self._process is None:
            return
        self._process.kill()
        self._process.communicate()
        self._process = None


def _start() -> Any:
    """The program, with pipes; ``-P`` keeps the modules beside it from standing in for others.

    Whatever decoders print is dropped: it may quote the file.
    """
    command, pipe = [sys.executable, "-P", str(PROGRAM)], subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)  # noqa: S603
