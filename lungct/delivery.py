"""Every file of an analysis but ``result.json``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from lungct.dicom_write.write import DICOM_FILES, write_dicom
from lungct.output import cannot_write
from lungct.records import Analysis
from lungct.report.label_maps import LOBES_FILE, OPACITIES_FILE, write_label_maps
from lungct.report.pdf import REPORT_FILE, pdf_report
from lungct.settings import OutputSettings

DELIVERED_FILES = (LOBES_FILE, OPACITIES_FILE, REPORT_FILE, *DICOM_FILES)


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
    pdf = pdf_report(analysis, created) if outputs.report_pdf or outputs.dicom.encapsulated_pdf else b""
    try:
        if outputs.label_maps:
            write_label_maps(folder, analysis)
        if outputs.report_pdf:
            (folder / REPORT_FILE).write_bytes(pdf)
        write_dicom(folder, outputs.dicom, analysis, pdf if outputs.dicom.encapsulated_pdf else None, created)
    except OSError as error:
        raise cannot_write(error) from error
