"""Time and memory of writing the results of a study."""

from __future__ import annotations

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
from lungct_research.benchmarks.study import N_THREADS, analysed_study

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


def run(n_slices: int) -> None:
    """Print the table."""
    torch.set_num_threads(N_THREADS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        analysis = analysed_study(folder / "study", n_slices)
        works = {"all files": partial(deliver, outputs=OutputSettings(), analysis=analysis)}
        settings = {f"SEG {name}": ONLY_SEGMENTATIONS | encoding for name, encoding in ENCODINGS.items()}
        everything: dict[str, dict[str, Any]] = {"all DICOM objects": {}}
        for name, values in (everything | settings | {"key slices": ONLY_CAPTURES}).items():
            works[name] = partial(
                write_dicom,
                settings=DicomSettings(**values),
                analysis=analysis,
                pdf=(lambda: PDF) if name in everything else None,
                created=datetime.now(),
            )
        print(f"{HEADER}{'MB written':>12}")
        for number, (name, work) in enumerate(works.items()):
            out = folder / str(number)
            out.mkdir()
            line = measure(name, partial(work, out))
            written_mb = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
            print(f"{line}{written_mb:>12.1f}")
