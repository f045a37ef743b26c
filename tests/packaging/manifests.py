"""What the manifests must say, after the tables of the MONAI Application Package specification.

Source: Project-MONAI/monai-deploy, guidelines/monai-application-package.md, "Manifests". In two places its
tables contradict the packager, which is followed: formats are a list of names, ``models`` is an object.
"""

from __future__ import annotations

from typing import Any

_MEMORY = {"type": "string", "pattern": r"^[1-9][0-9]*(\.[0-9])?[MG]i$"}
_FOLDER = {
    "type": "object",
    "required": ["path", "formats"],
    "properties": {
        "path": {"type": "string", "pattern": "^[^/].*/$"},
        "formats": {"const": ["file"]},
    },
}

APPLICATION_MANIFEST: dict[str, Any] = {
    "type": "object",
    "required": [
        "apiVersion",
        "command",
        "environment",
        "input",
        "output",
        "sdk",
        "version",
        "workingDirectory",
    ],
    "properties": {
        "command": {"const": '["python3", "/opt/holoscan/app"]'},
        "input": _FOLDER,
        "output": _FOLDER,
        "sdk": {"const": "monai-deploy"},
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "workingDirectory": {"const": "/var/holoscan"},
    },
}

PACKAGE_MANIFEST: dict[str, Any] = {
    "type": "object",
    "required": ["apiVersion", "applicationRoot", "modelRoot", "models", "resources", "version"],
    "properties": {
        "applicationRoot": {"const": "/opt/holoscan/app"},
        "modelRoot": {"const": "/opt/holoscan/models"},
        "models": {
            "type": "object",
            "required": ["lungs", "opacity", "classifier"],
            "maxProperties": 3,
        },
        "resources": {
            "type": "object",
            "required": ["cpu", "gpu", "memory", "gpuMemory"],
            "additionalProperties": False,
            "properties": {
                "cpu": {"type": "number", "exclusiveMinimum": 0},
                "gpu": {"type": "number", "minimum": 0},
                "memory": _MEMORY,
                "gpuMemory": _MEMORY,
                "sharedMemory": _MEMORY,
            },
        },
    },
}
