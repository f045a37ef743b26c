"""The page of faults is what the tests say."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

from tests.application_runs import ROOT

PAGE = ROOT / "docs" / "reference" / "faults.md"


def test_page_of_faults_is_up_to_date() -> None:
    """Made anew in a process of its own, since pytest does not collect inside itself."""
    command = [sys.executable, "-m", "tests.fault_matrix"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    assert made.stdout == PAGE.read_text(encoding="utf-8"), "run `make faults`"


def test_no_fault_is_told_twice() -> None:
    rows = [line.rsplit("|", 2)[0] for line in PAGE.read_text(encoding="utf-8").splitlines() if "::" in line]
    assert len(rows) >= 60
    assert not [row for row, n in Counter(rows).items() if n > 1]
