"""Parses arguments, runs the graph, turns an error into ``result.json`` and an exit code.

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

from startup import prepare_holoscan

from lungct.errors import OutputError
from lungct.file_names import RESULT_FILE
from lungct.journal import Journal
from lungct.process import prepare_process
from lungct.report.result import summarise
from lungct.run import run_into
from lungct.settings import read_settings

logger = logging.getLogger("lungct")

SETTINGS_FILE = Path(__file__).resolve().parent.parent / "app.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one analysis; return the exit code documented in :mod:`lungct.errors`."""
    arguments = _parse_arguments(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", force=True)
    logger.setLevel(arguments.log_level)
    prepare_process()
    journal = Journal()
    try:
        result = run_into(arguments.output, journal, lambda folder: _run_graph(arguments, folder, journal))
    except OutputError as error:
        logger.error("%s", error)
        return error.exit_code
    if result.findings:
        print(summarise(result))
        print(f"{', '.join([RESULT_FILE, *result.outputs])} in {arguments.output}")
    return result.exit_code


def _run_graph(arguments: argparse.Namespace, folder: Path, journal: Journal) -> None:
    settings = read_settings(arguments.settings)
    prepare_holoscan()
    from application import ChestCtApplication

    from lungct.networks.models import verify_models
    from operators.stage import Task

    models = verify_models(arguments.model, settings)
    ChestCtApplication(Task(arguments.input, folder, settings, models, journal)).run()


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
    os._exit(exit_code)  # all is written, and Python would take seconds to free libraries and arrays
