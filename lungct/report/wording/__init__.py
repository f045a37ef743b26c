"""The words of the report: one table a language, all with the same keys."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import get_args

from lungct.settings import Language

LANGUAGES: tuple[Language, ...] = get_args(Language)


class Wording:
    """The words of one language."""

    def __init__(self, language: Language) -> None:
        """Read the table."""
        self.language = language
        self._table = table(language)

    def __call__(self, key: str, **values: object) -> str:
        """Return the text of a key with its placeholders filled."""
        return self._table[key].format(**values)

    def get(self, key: str, default: str) -> str:
        """Return the text of a key that not every table must know."""
        return self._table.get(key, default)

    def number(self, value: float, decimals: int) -> str:
        """Round half to even from the exact value (ADR 0004), with the decimal sign of the language."""
        return f"{value:.{decimals}f}".replace(".", self("decimal_separator"))


@cache
def table(language: Language) -> dict[str, str]:
    """Read the whole table of a language."""
    text = (Path(__file__).parent / f"{language}.json").read_text(encoding="utf-8")
    words: dict[str, str] = json.loads(text)
    return words
