"""Write every file of an analysis but ``result.json``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from lungct.dicom_write.write import write_dicom
from lungct.file_names import HTML_FILE, REPORT_FILE
from lungct.output import cannot_write
from lungct.records import Analysis
from lungct.report.content import write_content
from lungct.report.html import render_html
from lungct.report.illustrations import illustrate
from lungct.report.label_maps import write_label_maps
from lungct.report.pdf import render_pdf
from lungct.report.wording import Wording
from lungct.settings import OutputSettings


def deliver(folder: Path, outputs: OutputSettings, analysis: Analysis) -> None:
    """Write the files that the settings ask for.

    Args:
        folder: existing folder.
        outputs: which files.
        analysis: what was found.

    Raises:
        OutputError: a file cannot be written.
    """
    created = datetime.now().replace(microsecond=0)
    try:
        with ThreadPoolExecutor() as beside:
            pages = beside.submit(_write_pages, folder, outputs, analysis, created)
            if outputs.label_maps:
                chest = analysis.chest
                note = chest.selection.outside_method
                write_label_maps(folder, chest.source, analysis.anatomy, analysis.opacities, note)
            pdf = pages.result if outputs.dicom.encapsulated_pdf else None
            write_dicom(folder, outputs.dicom, analysis, pdf, created)
            pages.result()
    except OSError as error:
        raise cannot_write(error) from error


def _write_pages(folder: Path, outputs: OutputSettings, analysis: Analysis, created: datetime) -> bytes:
    """Write the report as PDF and HTML where they are wanted; return the PDF."""
    pdf = b""
    needs_pdf = outputs.report_pdf or outputs.dicom.encapsulated_pdf
    if needs_pdf or outputs.report_html:
        content, illustrations = write_content(analysis, Wording(outputs.language)), illustrate(analysis)
        if needs_pdf:
            pdf = render_pdf(content, illustrations, created, outputs.paper)
        if outputs.report_pdf:
            (folder / REPORT_FILE).write_bytes(pdf)
        if outputs.report_html:
            html = render_html(analysis, content, illustrations)
            (folder / HTML_FILE).write_text(html, encoding="utf-8")
    return pdf
