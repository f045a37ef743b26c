"""Many studies in one process: neither memory nor open files may grow."""

from __future__ import annotations

import contextlib
import io
import runpy
import sys
import tempfile
from pathlib import Path

from lungct_research.benchmarks.measure import resident_mb
from lungct_research.benchmarks.study import spacing_of_mm, write_settings
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions
from lungct_research.synthesis.phantom.thorax import make_thorax

ROOT = Path(__file__).resolve().parents[2]
PIXEL_MM, PLANE = 2.8, (128, 128)
N_PERSONS = 4
EVERY = 10


def run(models: Path, n_studies: int, n_slices: int) -> None:
    """Analyse one study after the other and print a line now and then.

    Raises:
        RuntimeError: an analysis failed.
    """
    sys.path.insert(0, str(ROOT / "app"))  # as `python app` does
    analyse = runpy.run_path(str(ROOT / "app" / "__main__.py"), run_name="lungct_application")["main"]
    print(f"{'studies':>8}{'MB':>8}{'open files':>12}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = write_settings(folder)
        spacing_mm = (spacing_of_mm(n_slices)[0], PIXEL_MM, PIXEL_MM)
        for person in range(N_PERSONS):
            phantom = make_thorax(person + 1, spacing_mm, (n_slices, *PLANE), disease=Disease.COVID19)
            write_study(
                phantom.volume_hu, folder / str(person), StudyOptions(seed=person, spacing_mm=spacing_mm)
            )
        for number in range(n_studies):
            places = [
                "-i",
                folder / str(number % N_PERSONS),
                "-o",
                folder / "out",
                "-m",
                models,
                "-s",
                settings,
            ]
            with contextlib.redirect_stdout(io.StringIO()):
                exit_code = analyse([*map(str, places), "-l", "ERROR"])
            if exit_code:
                raise RuntimeError(f"analysis {number + 1} ended with code {exit_code}")
            if (number + 1) % EVERY == 0 or not number:
                n_files = len(list(Path("/proc/self/fd").iterdir()))
                print(f"{number + 1:>8}{resident_mb():>8.0f}{n_files:>12}", flush=True)
