"""Everything that can end an analysis early, and the exit code each one maps to.

::

    LungCtError                 1  internal error (also any other exception)
    ├── SettingsError           2  app.yaml or the command line is wrong
    ├── NoEligibleSeriesError   3  the study holds no series that may be analysed: a result, not a fault
    ├── InputError              4  the input cannot be read as a CT volume
    │   ├── NoDicomError           nothing in the folder is a DICOM image
    │   ├── PixelDataError         a file's pixels cannot be decoded or do not hold a CT image
    │   ├── GeometryError          the slices do not form a volume
    │   └── NoLungError            the volume shows no lungs
    ├── OutputError             5  the output folder cannot be written
    └── ModelError              6  model weights are missing or do not match their checksum

Messages are one line: they name the file or series and say what to do. They never hold patient data.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import ClassVar

EXIT_ANALYSED = 0


class LungCtError(Exception):
    """Base of all errors raised on purpose.

    Attributes:
        exit_code: exit code of the process.
        status: ``status`` of ``result.json``.
        default_code: code of errors that name no narrower one.
        code: machine-readable reason, stable across versions, e.g. ``GAP_TOO_WIDE``.
    """

    exit_code: ClassVar[int] = 1
    status: ClassVar[str] = "internal_error"
    default_code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(self, message: str, code: str = "") -> None:
        """Keep the one-line ``message`` and the machine-readable ``code``."""
        super().__init__(message)
        self.code = code or self.default_code


class SettingsError(LungCtError):
    """A value of app.yaml or of the command line is not valid."""

    exit_code = 2
    status = "bad_settings"
    default_code = "BAD_SETTINGS"


class NoEligibleSeriesError(LungCtError):
    """No series of the input satisfies the eligibility rules."""

    exit_code = 3
    status = "no_eligible_series"
    default_code = "NO_ELIGIBLE_SERIES"


class InputError(LungCtError):
    """The input cannot be read as a CT volume."""

    exit_code = 4
    status = "bad_input"
    default_code = "BAD_INPUT"


class NoDicomError(InputError):
    """The input folder holds no DICOM image."""

    default_code = "NO_DICOM"


class PixelDataError(InputError):
    """A file's pixels cannot be decoded or do not hold a CT image."""

    default_code = "BAD_PIXELS"


class GeometryError(InputError):
    """The slices of a series do not form a volume."""

    default_code = "BAD_GEOMETRY"


class NoLungError(InputError):
    """The volume shows no lungs, so there is nothing to classify or measure."""

    default_code = "NO_LUNG"


class OutputError(LungCtError):
    """The output folder cannot be written."""

    exit_code = 5
    status = "cannot_write"
    default_code = "CANNOT_WRITE"


class ModelError(LungCtError):
    """Model weights are missing, damaged or of another architecture."""

    exit_code = 6
    status = "bad_model"
    default_code = "BAD_MODEL"


def hide_text(error: Exception) -> LungCtError:
    """Return an error raised on purpose as it is, any other with its type and place only.

    The text of an unforeseen error may quote the input, and with it the patient.
    """
    if isinstance(error, LungCtError):
        return error
    if _is_out_of_memory(error):
        message = "not enough memory: give the process more (8 GiB for 300 slices), or set device to cpu"
        return LungCtError(message, "OUT_OF_MEMORY")
    if type(error).__name__ == "AcceleratorError":
        return LungCtError("the GPU failed during the run: try again, or set device to cpu", "GPU_FAILED")
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown place"
    return LungCtError(f"internal error: {type(error).__name__} at {place}; please report it")


def _is_out_of_memory(error: Exception) -> bool:
    """Recognise the errors of NumPy and C++ (MemoryError), torch on GPUs (a class) and on CPUs (a text)."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )
