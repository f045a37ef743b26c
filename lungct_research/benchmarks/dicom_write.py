"""Time and memory of writing the results of a study of 300 slices.

Example:
    python -m lungct_research.benchmarks.dicom_write
"""

from __future__ import annotations

import sys
import tempfile
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lungct.delivery import deliver
from lungct.dicom_write.write import write_dicom
from lungct.settings import DicomSettings, OutputSettings
from lungct_research.benchmarks.measure import HEADER, measure
from lungct_research.benchmarks.study import analysed_study

PDF = bytes(2_500_000)
"""As large as a report."""

ONLY_SEGMENTATIONS = {"structured_report": False, "encapsulated_pdf": False, "secondary_captures": False}
ONLY_CAPTURES = {"segmentations": False, "structured_report": False, "encapsulated_pdf": False}
ENCODINGS: dict[str, dict[str, Any]] = {
    "binary": {},
    "binary, all frames": {"omit_empty_frames": False},
    "binary, deflate": {"compression": "deflate"},
    "labelmap": {"segmentation_type": "labelmap"},
    "labelmap, rle": {"segmentation_type": "labelmap", "compression": "rle"},
    "labelmap, jpeg_ls": {"segmentation_type": "labelmap", "compression": "jpeg_ls"},
}


def main() -> int:
    """Print the table; returns the exit code."""
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        analysis = analysed_study(folder / "study")
        works = {"all files": partial(deliver, outputs=OutputSettings(), analysis=analysis)}
        settings = {f"SEG {name}": ONLY_SEGMENTATIONS | encoding for name, encoding in ENCODINGS.items()}
        for name, values in ({"all DICOM objects": {}} | settings | {"key slices": ONLY_CAPTURES}).items():
            works[name] = partial(
                write_dicom,
                settings=DicomSettings(**values),
                analysis=analysis,
                pdf=(lambda: PDF) if name == "all DICOM objects" else None,
                created=datetime.now(),
            )
        print(f"{HEADER}{'MB written':>12}")
        for number, (name, work) in enumerate(works.items()):
            out = folder / str(number)
            out.mkdir()
            line = measure(name, partial(work, out))
            written_mb = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
            print(f"{line}{written_mb:>12.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
