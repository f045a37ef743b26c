"""Read what compressed frames say about themselves, without decoding them.

A code stream has a header of its own: the size of its image, and whether it was compressed with loss (JPEG:
ITU-T T.81 annex B; JPEG-LS: T.87 annex C; JPEG 2000 and HTJ2K: T.800 annex A).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_MARKER, _SOI, _SOS = 0xFF, 0xD8, 0xDA
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Second bytes of the markers that begin a frame; the last is JPEG-LS."""
_JPEG_LS = 0xF7
_LOSSLESS_FRAMES = {0xC3, 0xC7, 0xCB, 0xCF}
_J2K_START = b"\xff\x4f\xff\x51"
_SIZ, _COD, _SOT = 0x51, 0x52, 0x90
_IRREVERSIBLE = 0
"""Transformation of the COD segment: the 9-7 wavelet, which always loses something."""
_TRANSFORMATION_AT = 9


@dataclass(frozen=True)
class CodeStream:
    """What the header of a code stream says."""

    rows: int
    columns: int
    n_components: int
    is_lossy: bool


def read_code_stream(content: bytes) -> CodeStream | None:
    """Return what a JPEG, JPEG-LS or JPEG 2000 code stream says; None where it is none, or damaged."""
    try:
        if content[:2] == bytes((0xFF, _SOI)):
            return _read_jpeg(content)
        start = content.find(_J2K_START)
        return _read_jpeg_2000(content[start:]) if start >= 0 else None
    except (struct.error, IndexError):
        return None


def _read_jpeg(content: bytes) -> CodeStream | None:
    size, kind = None, 0
    for marker, segment in _segments(content, end=_SOS):
        if marker in _FRAMES:
            rows, columns, n_components = struct.unpack_from(">xHHB", segment)
            size, kind = (rows, columns, n_components), marker
        elif marker == _SOS and size is not None:
            near_or_predictor, last = segment[-3], segment[-1]
            if kind == _JPEG_LS:
                is_lossy = near_or_predictor > 0
            else:
                is_lossy = kind not in _LOSSLESS_FRAMES or last & 0x0F > 0
            return CodeStream(*size, is_lossy)
    return None


def _read_jpeg_2000(content: bytes) -> CodeStream | None:
    size, is_lossy = None, None
    for marker, segment in _segments(content, end=_SOT):
        if marker == _SIZ:
            x, y, x_offset, y_offset = struct.unpack_from(">IIII", segment, 2)
            size = y - y_offset, x - x_offset, struct.unpack_from(">H", segment, 34)[0]
        elif marker == _COD:
            is_lossy = segment[_TRANSFORMATION_AT] == _IRREVERSIBLE
    return CodeStream(*size, is_lossy) if size and is_lossy is not None else None


def _segments(content: bytes, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of the segments of a header, up to and with the marker that ends it."""
    at = 2
    while at < len(content):
        if content[at] != _MARKER:
            return
        marker = content[at + 1]
        if marker == _MARKER:  # fills up
            at += 1
            continue
        (length,) = struct.unpack_from(">H", content, at + 2)
        if at + 2 + length > len(content):
            return
        yield marker, content[at + 4 : at + 2 + length]
        if marker == end:
            return
        at += 2 + length
