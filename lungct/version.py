"""The version of this application, which stands in pyproject.toml only."""

from __future__ import annotations

import json
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

MANIFEST_VARIABLE = "HOLOSCAN_APP_MANIFEST_PATH"
"""Set in the application image: the manifest that the packager made from app.yaml."""

UNKNOWN = "0+unknown"


def find_version() -> str:
    """Return the installed package's version; in the image, where it is not installed, the manifest's."""
    try:
        return version("lungct")
    except PackageNotFoundError:
        manifest = os.environ.get(MANIFEST_VARIABLE)
        if manifest is None:
            return UNKNOWN
        return str(json.loads(Path(manifest).read_text(encoding="utf-8"))["version"])
