"""Every file of an analysis but ``result.json``."""

from __future__ import annotations

from pathlib import Path

from lungct.output import cannot_write
from lungct.records import Chest, Findings, LungAnatomy, Opacities
from lungct.report.label_maps import LOBES_FILE, OPACITIES_FILE, write_label_maps
from lungct.report.pdf import REPORT_FILE, write_pdf
from lungct.settings import OutputSettings

REPORT_FILES = (LOBES_FILE, OPACITIES_FILE, REPORT_FILE)


def write_report(
    folder: Path,
    outputs: OutputSettings,
    chest: Chest,
    anatomy: LungAnatomy,
    opacities: Opacities,
    findings: Findings,
) -> None:
    """Write the files that the settings ask for.

    Args:
        folder: existing folder.
        outputs: which files.
        chest: patient, series and volume.
        anatomy: lobes.
        opacities: mask on the same grid.
        findings: what to print.

    Raises:
        OutputError: a file cannot be written.
    """
    try:
        if outputs.label_maps:
            write_label_maps(folder, chest.source, anatomy, opacities)
        if outputs.report_pdf:
            write_pdf(folder, chest, anatomy, opacities, findings)
    except OSError as error:
        raise cannot_write(error) from error
