"""The process that analyses: it reads one request a line, and answers each with a line.

The answer is empty if ``result.json`` tells what came of the study, and the code of an error otherwise.
Libraries and networks stay loaded from one study to the next. The process ends when its
input does, and when its parent ends.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from lungct.errors import OutputError
from lungct_services.runners.protection import end_with_parent


def serve(analyse: Callable[[Path, Path], object]) -> None:
    """Answer requests until there are no more.

    Args:
        analyse: analyses a folder of images into another folder, where ``result.json`` tells what came of it.
    """
    end_with_parent()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever libraries print is no answer
    for line in sys.stdin:
        request = json.loads(line)
        try:
            analyse(Path(request["input"]), Path(request["output"]))
            answers.write("\n")
        except OutputError as error:
            answers.write(f"{error.code}\n")


def main() -> None:
    """Serve with the settings and the models that the command line names; an empty name means the default."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("lungct").setLevel(logging.INFO)
    from lungct.process import prepare_process

    prepare_process()
    from lungct import Analyser

    settings, models = (Path(argument) if argument else None for argument in sys.argv[1:3])
    serve(Analyser(settings, models).analyse)


if __name__ == "__main__":
    main()
