"""Time and memory of the report of a study of 300 slices.

Example:
    python -m lungct_research.benchmarks.report
"""

from __future__ import annotations

import sys
import tempfile
from datetime import datetime
from pathlib import Path

import torch

from lungct.report.content import write_content
from lungct.report.html import render_html
from lungct.report.illustrations import illustrate
from lungct.report.pdf import render_pdf
from lungct.report.rendering import Structures, render_lungs
from lungct.report.wording import Wording
from lungct_research.benchmarks.measure import HEADER, measure
from lungct_research.benchmarks.study import analysed_study


def main() -> int:
    """Print the table; returns the exit code."""
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        analysis = analysed_study(Path(folder) / "study")
    tree = analysis.tree
    structures = Structures(analysis.anatomy.lobes, analysis.opacities.mask, tree.airways, tree.vessels)
    content, illustrations = write_content(analysis, Wording("en")), illustrate(analysis)
    print(HEADER)
    print(measure("3-D picture, both views", lambda: render_lungs(analysis.chest.volume, structures)))
    print(measure("all pictures", lambda: illustrate(analysis)))
    print(measure("PDF", lambda: render_pdf(content, illustrations, datetime.now())))
    print(measure("HTML", lambda: render_html(analysis, content, illustrations)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
