"""Prepares the process for Holoscan."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from importlib.util import find_spec, module_from_spec

HOLOSCAN_STACK_BYTES = 32 * 1024**2


def prepare_holoscan() -> None:
    """Prepare the process; call this before the first import of ``monai`` or ``holoscan``."""
    os.environ.setdefault("HOLOSCAN_LOG_LEVEL", "OFF")
    # CuPy, which the SDK brings along and nothing here uses, would make a folder in a home that is read-only
    os.environ.setdefault("CUPY_CACHE_DIR", tempfile.gettempdir())
    _enlarge_stack()
    load_cuda_runtime()
    _import_sdk()


def load_cuda_runtime() -> None:
    """Load the library that Holoscan is linked against, with or without a GPU.

    Holoscan looks for it where the system does; the package that brings it puts it elsewhere. A torch for
    CUDA has loaded it by now, one for CPUs has not.
    """
    from cuda.pathfinder import load_nvidia_dynamic_lib

    load_nvidia_dynamic_lib("cudart")


def _import_sdk() -> None:
    """Import ``monai.deploy`` without the rest of MONAI.

    The package ``monai`` imports all its modules as soon as one is wanted, which takes longer than the start
    of the rest. ``monai.deploy`` uses none of the others, so it is imported from an empty ``monai``, which
    then makes room for the real one, should anything want that later.
    """
    spec = find_spec("monai")
    if spec is None or "monai" in sys.modules:
        return
    sys.modules["monai"] = module_from_spec(spec)
    try:
        import monai.deploy.core  # noqa: F401
    finally:
        del sys.modules["monai"]


def _enlarge_stack() -> None:
    """Give Holoscan the stack it recommends, as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = HOLOSCAN_STACK_BYTES if hard == resource.RLIM_INFINITY else min(HOLOSCAN_STACK_BYTES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))
