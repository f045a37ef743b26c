"""Entry point of the mercure module: analyses, puts the results where mercure sends from, adds the alert.

mercure reads ``result.json`` in the output folder and sends ``__mercure_notification.text`` to the people
that the rule names. It passes on the files ``*.dcm`` of the output folder, not those of folders below.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

DECISIONS = {
    "covid19": "signs of COVID-19",
    "other_infection": "signs of another pulmonary infection",
    "no_infection": "no imaging signs of infection",
}
ANSWERED = ("analysed", "no_eligible_series")
"""Statuses that are no failure; mercure moves a study whose module fails to its error folder."""


def main() -> int:
    """Run the application on the folders that mercure names; return the exit code of the module."""
    out = Path(os.environ["MERCURE_OUT_DIR"])
    application = os.environ.get("HOLOSCAN_APPLICATION", "/opt/holoscan/app")
    folders = ["-i", os.environ["MERCURE_IN_DIR"], "-o", str(out)]
    exit_code = subprocess.run([sys.executable, application, *folders], check=False).returncode  # noqa: S603
    if not (out / "result.json").exists():
        return exit_code
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    flatten(out)
    result["__mercure_notification"] = notification(result)
    (out / "result.json").write_text(json.dumps(result, indent=2), encoding="utf-8")
    return 0 if result["status"] in ANSWERED else exit_code


def flatten(out: Path) -> None:
    """Move the DICOM results from their own folder to the output folder."""
    for file in sorted(out.glob("dicom/*.dcm")):
        file.replace(out / file.name)


def notification(result: dict[str, Any]) -> dict[str, Any]:
    """Return the alert, and whether a rule that alerts "on request" shall send it.

    Args:
        result: content of ``result.json``.
    """
    if result["status"] != "analysed":
        return {"text": f"not analysed: {result['reason']['message']}", "requested": True}
    findings = result["findings"]
    flags = ", ".join(flag["code"] for flag in result["quality_flags"])
    percent = findings["total"]["opacity_percent"]
    affected = "an unknown part" if percent is None else f"{percent:.0f} %"
    text = (
        f"research use only: {DECISIONS[findings['diagnosis']]}; "
        f"involvement {findings['involvement']}, CT severity score {findings['severity_score']} of 25, "
        f"{affected} of the lungs affected."
    )
    return {
        "text": f"{text} Flags: {flags}." if flags else text,
        "requested": findings["diagnosis"] != "no_infection" or findings["involvement"] != "none",
    }


if __name__ == "__main__":
    sys.exit(main())
