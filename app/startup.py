"""What the process sets right before it imports the graph."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from importlib.util import find_spec, module_from_spec

HOLOSCAN_STACK_BYTES = 32 * 1024**2


def prepare_holoscan() -> None:
    """Make the process fit for Holoscan; call it before the first import of ``monai`` or ``holoscan``."""
    os.environ.setdefault("HOLOSCAN_LOG_LEVEL", "OFF")
    _need_no_home()
    _enlarge_stack()
    load_cuda_runtime()
    _import_sdk()


def _need_no_home() -> None:
    """Run on a read-only file system.

    CuPy, which the SDK brings along and nothing here uses, makes a folder in the home when it is imported.
    """
    os.environ.setdefault("CUPY_CACHE_DIR", tempfile.gettempdir())


def load_cuda_runtime() -> None:
    """Load the library that Holoscan is linked against, with or without a GPU.

    Holoscan does not bring it and looks where the system's loader does; the package that does bring it puts
    it elsewhere. A torch for CUDA has loaded it by now, one for CPUs has not.
    """
    from cuda.pathfinder import load_nvidia_dynamic_lib

    load_nvidia_dynamic_lib("cudart")


def _import_sdk() -> None:
    """Import ``monai.deploy`` without the rest of MONAI.

    The package ``monai`` imports all its modules as soon as one is wanted. ``monai.deploy`` is one, uses none
    of the others, and would spend more time on them than the rest of the application takes to start. So it is
    imported from an empty ``monai``, which then makes room for the real one, should anything want that later.
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
