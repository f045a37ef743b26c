"""Chest-CT analysis as plain functions on arrays and frozen records; knows nothing of MONAI Deploy."""

import json
import os
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lungct.pipeline import Analyser, analyse

__all__ = ["Analyser", "analyse"]


def _find_version() -> str:
    """Return the version of the installed package; in the image, which installs none, that of app.yaml."""
    try:
        return metadata.version("lungct")
    except metadata.PackageNotFoundError:
        manifest = os.environ.get("HOLOSCAN_APP_MANIFEST_PATH")
        return str(json.loads(Path(manifest).read_text("utf-8"))["version"]) if manifest else "0+unknown"


__version__ = _find_version()


def __getattr__(name: str) -> Any:
    """Import the pipeline when it is first asked for, since its libraries take seconds to import."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("lungct.pipeline"), name)
