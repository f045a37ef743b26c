"""Decode compressed frames in other processes.

Decoders are C and C++. A damaged image can crash them (GDCM with JPEG Lossless does), and a hostile one can
make them take memory and time without end. Here a crash costs the image, not the analysis, and the memory and
time of every frame are limited.

Every one of these processes imports this module, so it imports nothing of ours.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from loky import cpu_count, get_reusable_executor
from pydicom import config, uid
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

PLUGINS: dict[str, str] = {
    uid.JPEGLossless: "gdcm",
    uid.JPEGLosslessSV1: "gdcm",
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "gdcm",
    uid.JPEG2000: "gdcm",
    uid.HTJ2KLossless: "pylibjpeg",
    uid.HTJ2KLosslessRPCL: "pylibjpeg",
    uid.HTJ2K: "pylibjpeg",
    uid.RLELossless: "pydicom",
}
"""Decoder of every compressed transfer syntax. Named one by one because a plugin that other code registers
must not step in: nvimgcodec turns 12-bit JPEG Lossless into zeros without an error."""

MOST_PROCESSES = 4
"""Most decoding processes: each takes some 80 MB, and reading the files is slower than four. Own decision."""
FRAMES_AHEAD = 2
"""Frames that wait for every process, so that none is idle. Own decision."""
MEMORY_BYTES = 512 << 20
"""Memory of a process beside its imports; a slice of 1024 x 1024 takes below 50 MB. Own decision."""
IDLE_SECONDS = 10
"""Time that processes wait for another series before they end. Own decision."""
CPU_SECONDS = 8.0
"""CPU time for one frame; the slowest, JPEG 2000, takes below 0.1 s for 512 x 512. Own decision."""

StoredArray = npt.NDArray[np.integer]
Key = TypeVar("Key")


@dataclass(frozen=True)
class EncodedFrame:
    """One compressed frame.

    Attributes:
        code_stream: its bytes, without the items that encapsulate them.
        transfer_syntax: one of ``PLUGINS``.
        attributes: what pydicom's decoder needs to know, such as ``rows`` and ``bits_allocated``.
    """

    code_stream: bytes
    transfer_syntax: str
    attributes: Mapping[str, Any]


class DecodingError(Exception, Generic[Key]):
    """The frame with this key cannot be decoded."""

    def __init__(self, key: Key) -> None:
        """Keep the frame's key."""
        super().__init__()
        self.key = key


def decode_frames(frames: Iterable[tuple[Key, EncodedFrame]]) -> Iterator[tuple[Key, StoredArray]]:
    """Decode frames side by side and return them in their order, each with its key.

    When a process dies, the frames it leaves are decoded by a single one: the frame with which that one dies
    too is to blame. A daemonic process may not have children, so there the frames are decoded in the process
    itself.

    Args:
        frames: taken a few at a time, not all at once.

    Returns:
        Stored values ``[rows, columns]`` of each frame.

    Raises:
        DecodingError: a frame is damaged, crashes its decoder or goes beyond memory or time.
    """
    if multiprocessing.current_process().daemon:
        for key, frame in frames:
            yield key, _checked(key, decode(frame))
        return
    pool = _Pool()
    waiting: deque[tuple[Key, EncodedFrame, Future[Any]]] = deque()
    try:
        for key, frame in frames:
            waiting.append((key, frame, pool.submit(frame)))
            if len(waiting) > FRAMES_AHEAD * pool.n_processes:
                yield _first_of(waiting, pool)
        while waiting:
            yield _first_of(waiting, pool)
    finally:
        for *_, future in waiting:
            future.cancel()


def decode(frame: EncodedFrame) -> StoredArray | None:
    """Return stored values ``[rows, columns]`` as they are, None where the frame cannot be decoded."""
    options: dict[str, Any] = {
        **frame.attributes,
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
        "correct_unused_bits": False,
    }
    try:
        pixels, _ = get_decoder(uid.UID(frame.transfer_syntax)).as_array(
            encapsulate([frame.code_stream], has_bot=False),
            index=0,
            raw=True,
            decoding_plugin=PLUGINS[frame.transfer_syntax],
            **options,
        )
    except Exception:  # decoders raise what they like, and their texts may quote the file
        return None
    return pixels


class _Pool:
    """Processes that decode; after one has died, a single one."""

    def __init__(self) -> None:
        self.n_processes = min(cpu_count(), MOST_PROCESSES)
        self.has_died = False

    def submit(self, frame: EncodedFrame) -> Future[Any]:
        executor = get_reusable_executor(
            self.n_processes, context="loky", timeout=IDLE_SECONDS, initializer=_limit_process
        )
        try:
            future: Future[Any] = executor.submit(_decode_in_time, frame)
        except BrokenProcessPool as error:  # it died since the last frame was submitted
            future = Future()
            future.set_exception(error)
        return future

    def start_again(self) -> None:
        self.has_died, self.n_processes = True, 1


def _first_of(waiting: deque[tuple[Key, EncodedFrame, Future[Any]]], pool: _Pool) -> tuple[Key, StoredArray]:
    key, _, future = waiting[0]
    try:
        pixels = future.result()
    except BrokenProcessPool as error:
        if pool.has_died:
            raise DecodingError(key) from error
        pool.start_again()
        left = [(key, frame, pool.submit(frame)) for key, frame, _ in waiting]
        waiting.clear()
        waiting.extend(left)
        return _first_of(waiting, pool)
    waiting.popleft()
    return key, _checked(key, pixels)


def _checked(key: Key, pixels: StoredArray | None) -> StoredArray:
    if pixels is None:
        raise DecodingError(key)
    return pixels


def _decode_in_time(frame: EncodedFrame) -> StoredArray | None:
    """Decode a frame in a process of its own; the signal of the timer ends the process."""
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    pixels = decode(frame)
    signal.setitimer(signal.ITIMER_PROF, 0)
    return pixels


def _limit_process() -> None:
    """Limit the memory of a decoding process, and drop what decoders print: it may quote the file."""
    config.settings.reading_validation_mode = config.IGNORE
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY_BYTES,) * 2)
