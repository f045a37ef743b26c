"""What is slow to import waits until a study needs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SLOW = (
    "monai.apps",
    "monai.data",
    "monai.transforms",
    "torchvision",
    "segmentation_models_pytorch",
    "torch._dynamo",
    "fpdf",
    "lungct.delivery",
)

SCRIPT = """
import sys
sys.path[0] = "app"
from runpy import run_path
run_path("app/__main__.py", run_name="application")["main"]()
print("imported:", *sys.modules)
"""


def test_nothing_slow_is_imported_before_a_study_needs_it(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    arguments = ["-i", str(tmp_path / "study"), "-o", str(tmp_path / "out"), "-m", "models"]
    process = subprocess.run(  # noqa: S603
        [sys.executable, "-c", SCRIPT, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    (imported,) = (line.split() for line in process.stdout.splitlines() if line.startswith("imported:"))
    assert "[1/9] dicom loader" in process.stderr
    assert "monai.deploy.core" in imported
    assert not set(SLOW) & set(imported)
