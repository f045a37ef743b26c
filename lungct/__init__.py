"""Chest-CT analysis as plain functions on arrays and frozen records; knows nothing of MONAI Deploy."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lungct.version import find_version

if TYPE_CHECKING:
    from lungct.pipeline import Analyser, analyse

__version__ = find_version()
__all__ = ["Analyser", "analyse"]


def __getattr__(name: str) -> Any:
    """Import the pipeline when it is first asked for, since its libraries take seconds to import."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("lungct.pipeline"), name)
