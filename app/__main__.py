"""Parse arguments, run the graph, turn an error into ``result.json`` and an exit code.

Installed paths come from the environment of the application image: HOLOSCAN_INPUT_PATH, HOLOSCAN_OUTPUT_PATH,
HOLOSCAN_MODEL_PATH and HOLOSCAN_CONFIG_PATH.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from startup import prepare_process

from lungct.errors import EXIT_ANALYSED, LungCtError, OutputError, without_text
from lungct.file_names import DELIVERED_FILES
from lungct.journal import Journal
from lungct.networks.device import keep_freed_memory
from lungct.output import RESULT_FILE, OutputFolder
from lungct.settings import read_settings

logger = logging.getLogger("lungct")

SETTINGS_FILE = Path(__file__).resolve().parent.parent / "app.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one analysis; returns the exit code documented in :mod:`lungct.errors`."""
    arguments = _parse_arguments(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", force=True)
    logger.setLevel(arguments.log_level)
    prepare_process()
    keep_freed_memory()
    try:
        with OutputFolder(arguments.output, DELIVERED_FILES) as folder:
            return _run(arguments, folder)
    except OutputError as error:
        logger.error("%s", error)
        return error.exit_code


def _run(arguments: argparse.Namespace, folder: OutputFolder) -> int:
    from lungct.report.result import build_result
    from lungct.report.summary import summary

    journal = Journal()
    try:
        _analyse(arguments, folder.staging, journal)
        outputs = folder.publish()
        folder.write_result(build_result(journal, None, outputs).model_dump_json(indent=2))
    except Exception as raised:
        error = without_text(raised)
        logger.error("%s", error)
        folder.discard()
        folder.write_result(build_result(journal, error, []).model_dump_json(indent=2))
        return error.exit_code
    print(summary(journal.findings))
    print(f"{', '.join([RESULT_FILE, *outputs])} in {folder.path}")
    return EXIT_ANALYSED


def _analyse(arguments: argparse.Namespace, staging: Path, journal: Journal) -> None:
    settings = read_settings(arguments.settings)
    from application import ChestCtApplication

    ChestCtApplication(arguments.input, arguments.model, staging, settings, journal).run()
    if journal.findings is None:
        raise LungCtError("the analysis stopped before its last stage; please report it", "INCOMPLETE")


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    def installed(variable: str, default: str | Path) -> Path:
        return Path(os.environ.get(variable, default))

    parser = argparse.ArgumentParser(
        prog="python app", description="Chest-CT study in, findings out. Research use only."
    )
    parser.add_argument("-i", "--input", type=Path, default=installed("HOLOSCAN_INPUT_PATH", "input"))
    parser.add_argument("-o", "--output", type=Path, default=installed("HOLOSCAN_OUTPUT_PATH", "output"))
    parser.add_argument("-m", "--model", type=Path, default=installed("HOLOSCAN_MODEL_PATH", "models"))
    parser.add_argument(
        "-s", "--settings", type=Path, default=installed("HOLOSCAN_CONFIG_PATH", SETTINGS_FILE)
    )
    parser.add_argument(
        "-l", "--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"], type=str.upper
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    os._exit(exit_code)  # all is written: Python would take seconds to take libraries and arrays down
