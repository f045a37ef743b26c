"""Time and memory of the report of a study."""

from __future__ import annotations

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
from lungct_research.benchmarks.study import N_THREADS, analysed_study


def run(n_slices: int) -> None:
    """Print the table."""
    torch.set_num_threads(N_THREADS)
    with tempfile.TemporaryDirectory() as folder:
        analysis = analysed_study(Path(folder) / "study", n_slices)
    tree = analysis.tree
    structures = Structures(analysis.anatomy.lobes, analysis.opacities.mask, tree.airways, tree.vessels)
    content, illustrations = write_content(analysis, Wording("en")), illustrate(analysis)
    print(HEADER)
    print(measure("3-D picture, both views", lambda: render_lungs(analysis.chest.volume, structures)))
    print(measure("all pictures", lambda: illustrate(analysis)))
    print(measure("PDF", lambda: render_pdf(content, illustrations, datetime.now())))
    print(measure("HTML", lambda: render_html(analysis, content, illustrations)))
