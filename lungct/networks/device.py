"""The device that networks run on, and the memory allocator that makes the CPU worth running on."""

from __future__ import annotations

import ctypes
from typing import Literal

import torch

from lungct.errors import SettingsError

DeviceName = Literal["auto", "cpu", "cuda"]

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8


def choose_device(name: DeviceName) -> torch.device:
    """Return the named device; ``auto`` is the GPU where there is one.

    Raises:
        SettingsError: CUDA was asked for and is not available.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingsError("device is set to cuda but no CUDA device is available: set it to auto or cpu")
    use_gpu = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_gpu else "cpu")


def multiplies_bfloat16(device: torch.device) -> bool:
    """Tell whether the device is a CPU with such instructions; others are slower with it than in float32."""
    able = torch.cpu.get_capabilities()
    return device.type == "cpu" and torch.backends.mkldnn.is_available() and bool(able.get("avx512_bf16"))


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks: inference otherwise spends its time in page faults.

    Only the main arena can keep large ones, so all threads share it. Call once at the start of a process,
    before the first large array. Other C libraries ignore it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_MMAP_THRESHOLD, 1 << 30)
    mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
    mallopt(_M_TOP_PAD, 1 << 28)
