"""Write every file of an analysis but ``result.json``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import nibabel as nib
import numpy as np

import lungct
from lungct.dicom_write.write import write_dicom
from lungct.file_names import HTML_FILE, LOBES_FILE, OPACITIES_FILE, REPORT_FILE
from lungct.records import Analysis, CtVolume, LungAnatomy, Opacities
from lungct.records.orientation import LPS_TO_RAS, from_canonical
from lungct.report.content import write_content
from lungct.report.html import render_html
from lungct.report.illustrations import illustrate
from lungct.report.pdf import render_pdf
from lungct.report.wording import Wording
from lungct.run import cannot_write
from lungct.settings import OutputSettings

DESCRIPTION_BYTES = 79
"""Room in the field ``descrip`` of NIfTI-1, whose last byte ends the text."""

_REVERSE_INDICES = np.eye(4)[[2, 1, 0, 3]]


def deliver(folder: Path, outputs: OutputSettings, analysis: Analysis) -> None:
    """Write the files that the settings ask for into an existing folder.

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


def write_label_maps(
    folder: Path, source: CtVolume, anatomy: LungAnatomy, opacities: Opacities, note: str = ""
) -> None:
    """Write lobes and opacities as NIfTI label maps into an existing folder.

    Args:
        folder: existing folder.
        source: the volume as stored; the files lie on its grid.
        anatomy: lobes on the canonical grid.
        opacities: mask on the canonical grid.
        note: first words of the description in the header; ASCII, cut where its field ends.
    """
    description = "; ".join(filter(None, (note, f"lungct {lungct.__version__}, research use only")))
    affine_ras = LPS_TO_RAS @ source.affine_lps @ _REVERSE_INDICES
    for name, mask in ((LOBES_FILE, anatomy.lobes), (OPACITIES_FILE, opacities.mask)):
        image = nib.Nifti1Image(from_canonical(mask, source).T, affine_ras)
        image.set_sform(affine_ras, code="scanner")
        image.set_qform(affine_ras, code="scanner")  # some readers look at this one only
        image.header.set_xyzt_units("mm")
        image.header["descrip"] = description.encode("ascii", "replace")[:DESCRIPTION_BYTES]
        nib.save(image, folder / name)
