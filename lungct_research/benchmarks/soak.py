"""Many studies in one process: neither memory nor open files may grow.

Example:
    python -m lungct_research.benchmarks.soak --studies 200
"""

from __future__ import annotations

import argparse
import contextlib
import io
import runpy
import sys
import tempfile
from pathlib import Path

from lungct_research.benchmarks.measure import resident_mb
from lungct_research.datasets.disease import Disease
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions
from lungct_research.synthesis.phantom.thorax import make_thorax

ROOT = Path(__file__).resolve().parents[2]
SPACING_MM, SHAPE = (3.0, 2.8, 2.8), (100, 128, 128)
N_PERSONS = 4
EVERY = 10


def main() -> int:
    """Analyse one study after the other and print a line now and then; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200)
    n_studies = parser.parse_args().studies
    sys.path.insert(0, str(ROOT / "app"))  # as `python app` does
    analyse = runpy.run_path(str(ROOT / "app" / "__main__.py"), run_name="lungct_application")["main"]
    print(f"{'studies':>8}{'MB':>8}{'open files':>12}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for person in range(N_PERSONS):
            phantom = make_thorax(person + 1, SPACING_MM, SHAPE, disease=Disease.COVID19)
            options = StudyOptions(seed=person, spacing_mm=SPACING_MM)
            write_study(phantom.volume_hu, folder / str(person), options)
        for number in range(n_studies):
            places = ["-i", folder / str(number % N_PERSONS), "-o", folder / "out", "-m", ROOT / "models"]
            with contextlib.redirect_stdout(io.StringIO()):
                exit_code = analyse([*map(str, places), "-l", "ERROR"])
            if exit_code:
                return int(exit_code)
            if (number + 1) % EVERY == 0 or not number:
                n_files = len(list(Path("/proc/self/fd").iterdir()))
                print(f"{number + 1:>8}{resident_mb():>8.0f}{n_files:>12}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
