"""One run: an output folder that holds all files or none, and ``result.json`` whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from lungct.errors import LungCtError, without_text
from lungct.file_names import DELIVERED_FILES
from lungct.journal import Journal
from lungct.output import OutputFolder
from lungct.report.result import Result, build_result

logger = logging.getLogger("lungct")


def run_into(out: Path, journal: Journal, write_files: Callable[[Path], None]) -> Result:
    """Run an analysis and write ``result.json``, with its findings or with the reason why there are none.

    Args:
        out: output folder; made where missing.
        journal: filled by the analysis; it is complete once it holds findings.
        write_files: analyses, and writes every other file into the folder that it is given.

    Returns:
        The content of ``result.json``.

    Raises:
        OutputError: the output folder cannot be written, so there is no ``result.json`` either.
    """
    with OutputFolder(out, DELIVERED_FILES) as folder:
        try:
            write_files(folder.staging)
            if journal.findings is None:
                raise LungCtError(
                    "the analysis stopped before its last stage; please report it", "INCOMPLETE"
                )
            result = build_result(journal, None, folder.publish())
            folder.write_result(result.model_dump_json(indent=2))
        except Exception as raised:
            error = without_text(raised)
            logger.error("%s", error)
            folder.discard()
            result = build_result(journal, error, [])
            folder.write_result(result.model_dump_json(indent=2))
        return result
