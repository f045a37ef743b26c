"""Decodes compressed images for :mod:`lungct.dicom_read.decoding`, in a process of its own.

A program, not a module: it is started by its path, so that it imports no more than it needs. For every image
it reads a line of JSON, ``[path, frame, plugin]``, and answers with the number of bytes that follow (8 bytes,
little endian) and the stored values as a NumPy file; with 0 where they cannot be decoded.
"""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from io import BytesIO

import numpy as np
from pydicom import Dataset, config, dcmread
from pydicom.pixels.decoders.base import get_decoder


@lru_cache(maxsize=1)
def read(path: str) -> Dataset:
    """The file; kept, since frames of one file come one after the other."""
    return dcmread(path, force=True)


def answer(path: str, frame: int, plugin: str) -> bytes:
    """The stored values as a NumPy file; empty where they cannot be decoded."""
    file = BytesIO()
    try:
        dataset = read(path)
        decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
        pixels, _ = decoder.as_array(dataset, index=frame, raw=True, decoding_plugin=plugin)
    except Exception:  # decoders raise what they like; their texts may quote the file
        return b""
    np.save(file, pixels)
    return file.getvalue()


def main() -> None:
    """Answer until the input ends."""
    config.settings.reading_validation_mode = config.IGNORE
    for line in sys.stdin:
        content = answer(*json.loads(line))
        sys.stdout.buffer.write(len(content).to_bytes(8, "little") + content)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
