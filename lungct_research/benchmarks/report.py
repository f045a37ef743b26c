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

from lungct.report.content import report_content
from lungct.report.html import html_report
from lungct.report.illustrations import illustrate
from lungct.report.pdf import pdf_report
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
    content, illustrations = report_content(analysis, Wording("en")), illustrate(analysis)
    print(HEADER)
    print(measure("3-D picture, both views", lambda: render_lungs(analysis.chest.volume, structures)))
    print(measure("all pictures", lambda: illustrate(analysis)))
    print(measure("PDF", lambda: pdf_report(content, illustrations, datetime.now())))
    print(measure("HTML", lambda: html_report(analysis, content, illustrations)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
