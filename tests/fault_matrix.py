"""What can go wrong and what the user gets, as the tests prove it: ``python -m tests.fault_matrix``.

A test of a fault is marked ``@pytest.mark.fault(area, what, outcome)``. The texts may name parameters of the
test, as ``"... {code}"``; every set of parameters that gives other texts is a row of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import FunctionType

import pytest

TESTS = Path(__file__).resolve().parent

AREAS = {
    "files": "Files in the study's folder",
    "headers": "Headers",
    "series": "Series that may not be analysed",
    "geometry": "Slices that form no even grid",
    "pixels": "Pixels",
    "chest": "What the scan shows",
    "models": "Weights and settings",
    "machine": "Machine and output folder",
}

HEAD = """# Faults

What happens when something is wrong. The test that a row names makes it happen; the page is made from these
tests (`make faults`), and a test fails where it is out of date.

- A fault of the input ends in one line that names the file or series and says what to do. Exit codes:
  [result reference](result.md#status-and-exit-code).
- "Flag" means that the study is analysed and every output shows the flag.
- Unless a row says otherwise, `result.json` is written, and nothing else where nothing was analysed.
"""


@dataclass(frozen=True)
class Row:
    """One fault, what the user gets, and the test that proves it."""

    area: str
    what: str
    outcome: str
    test: str


class _Collector:
    items: tuple[pytest.Item, ...] = ()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.items = tuple(items)


def collect() -> tuple[Row, ...]:
    """All rows, without running a test."""
    collector = _Collector()
    with redirect_stdout(sys.stderr):
        pytest.main(["--collect-only", "-qq", "-m", "fault", str(TESTS)], plugins=[collector])
    return tuple(dict.fromkeys(rows(collector.items)))


def rows(items: Iterable[pytest.Item]) -> Iterator[Row]:
    """The rows of collected tests; a test may have several."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        parameters = {name: _shown(value) for name, value in callspec.params.items()} if callspec else {}
        for marker in item.iter_markers("fault"):
            area, what, outcome = (text.format(**parameters) for text in marker.args)
            yield Row(area, what, outcome, f"{item.path.relative_to(TESTS)}::{item.name.split('[')[0]}")


def _shown(value: object) -> object:
    """A parameter as a reader of the page would write it."""
    match value:
        case Enum():
            return value.name.lower().replace("_", " ")
        case dict():
            return ", ".join(f"{key} = {_shown(part)}" for key, part in value.items())
        case list():
            return "`, `".join(str(part) for part in value)
        case FunctionType():
            return value.__name__.strip("_").replace("_", " ")
        case bytes():
            return f"{len(value)} bytes {value[:6]!r}"
    return value


def page(found: Iterable[Row]) -> str:
    """The reference in Markdown, a table an area."""
    lines = [HEAD.rstrip()]
    found = list(found)
    for area, title in AREAS.items():
        lines += ["", f"## {title}", "", "| what | what you get | test |", "|---|---|---|"]
        lines += [f"| {row.what} | {row.outcome} | `{row.test}` |" for row in found if row.area == area]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page(collect()))
