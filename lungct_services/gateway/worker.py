"""The process that analyses: reads a request a line, runs the application, answers with the exit code.

Libraries stay imported from one study to the next. The process ends when its input does, so it hardly
outlives the gateway.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path


def main() -> None:
    """Serve requests until there are no more; the arguments name application, models and settings."""
    application, models, settings = sys.argv[1:4]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # the application prints findings there
    sys.path.insert(0, application)  # as `python app` does
    analyse = runpy.run_path(str(Path(application) / "__main__.py"), run_name="lungct_application")["main"]
    for line in sys.stdin:
        request = json.loads(line)
        code = analyse(["-i", request["input"], "-o", request["output"], "-m", models, "-s", settings])
        answers.write(json.dumps({"exit_code": code}) + "\n")


if __name__ == "__main__":
    main()
