"""Time and memory of writing all DICOM objects of a phantom of 300 slices of 512 x 512.

Example:
    python -m benchmarks.dicom_write
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import torch

from lungct.delivery import deliver
from lungct.dicom_read import scan_folder
from lungct.dicom_read.chest import read_chest
from lungct.dicom_write.write import write_dicom
from lungct.findings.conclusion import conclude
from lungct.findings.quantification import quantify
from lungct.records import (
    Analysis,
    Classification,
    LungAnatomy,
    ModelInfo,
    Opacities,
    Probabilities,
    Selection,
    SeriesVerdict,
)
from lungct.settings import DicomSettings, OutputSettings
from phantom.dicom_study import write_study
from phantom.study_options import StudyOptions
from phantom.thorax import make_thorax

SHAPE, SPACING_MM = (300, 512, 512), (1.1, 0.7, 0.7)
NOTHING = {
    "segmentations": False,
    "structured_report": False,
    "encapsulated_pdf": False,
    "secondary_captures": False,
}
ENCODINGS = {
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
        analysis = _analysis(folder / "study")
        print(f"{'what':<28}{'seconds':>9}{'peak MB above':>15}{'MB written':>12}")

        def everything(out: Path) -> None:
            deliver(out, OutputSettings(), analysis)

        _measure("all files", everything, folder / "all")
        for name, encoding in ENCODINGS.items():
            settings = DicomSettings(**NOTHING | {"segmentations": True} | encoding)
            _measure(f"SEG {name}", _writer(settings, analysis), folder / name.replace(" ", "_"))
        captures = DicomSettings(**NOTHING | {"secondary_captures": True})
        _measure("key slices", _writer(captures, analysis), folder / "captures")
    return 0


def _analysis(study: Path) -> Analysis:
    phantom = make_thorax(1, SPACING_MM, SHAPE, pattern="covid")
    write_study(phantom.volume_hu, study, StudyOptions(spacing_mm=SPACING_MM))
    scan = scan_folder(study)
    chest = read_chest(Selection(scan, (SeriesVerdict(scan.series[0], rank=1),)))
    model = ModelInfo("truth", "1", "0" * 64, provisional=True)
    anatomy, opacities = LungAnatomy(phantom.lobes, model), Opacities(phantom.opacity, model)
    quantification = quantify(anatomy, opacities, chest.volume.voxel_ml)
    classification = Classification(Probabilities(0.8, 0.1, 0.1), model)
    findings = conclude(chest, anatomy, classification, opacities, quantification)
    return Analysis(chest, anatomy, opacities, findings)


def _writer(settings: DicomSettings, analysis: Analysis) -> Callable[[Path], None]:
    return lambda out: write_dicom(out, settings, analysis, None, datetime.now())


def _measure(what: str, work: Callable[[Path], None], out: Path) -> None:
    out.mkdir()
    before_mb = _memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    begin = time.perf_counter()
    work(out)
    seconds = time.perf_counter() - begin
    above_mb = _memory_mb("VmHWM") - before_mb
    written_mb = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    print(f"{what:<28}{seconds:>9.2f}{above_mb:>15.0f}{written_mb:>12.1f}")


def _memory_mb(what: str) -> float:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return float(line.split()[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
