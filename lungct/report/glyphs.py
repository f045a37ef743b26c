"""The choice of fonts in ``fonts/`` for a text, and the letters that none of them has (ADR 0046)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from unicodedata import category

import uharfbuzz

FONTS = Path(__file__).parent / "fonts"
TEXT_FONT = "DejaVuSans"
LAST_FONT = "DroidSansFallback"
"""Font of ideographs, kana and hangul; large, so it is opened last."""

_SHAPES_OTHERS = "Cf"
"""Unicode's category of format characters, such as the joiners of Indic scripts: they need no glyph."""


def choose_fonts(text: str) -> tuple[str, ...]:
    """Return the names of the fonts that a text needs besides :data:`TEXT_FONT`."""
    missing = _letters(text) - _letters_of(TEXT_FONT)
    chosen = []
    for font in _script_fonts() if missing else ():
        if missing & _letters_of(font):
            chosen.append(font)
            missing -= _letters_of(font)
        if not missing:
            break
    return tuple(chosen)


def find_unprintable(text: str) -> frozenset[str]:
    """Return the letters that none of our fonts has."""
    covered = _letters_of(TEXT_FONT).union(*map(_letters_of, choose_fonts(text)))
    return frozenset(map(chr, _letters(text) - covered))


def _letters(text: str) -> frozenset[int]:
    return frozenset(ord(letter) for letter in text if category(letter) != _SHAPES_OTHERS)


@cache
def _script_fonts() -> tuple[str, ...]:
    return (*sorted(path.stem for path in FONTS.glob("Noto*.ttf")), LAST_FONT)


@cache
def _letters_of(font: str) -> frozenset[int]:
    blob = uharfbuzz.Blob.from_file_path(FONTS / f"{font}.ttf")
    return frozenset(uharfbuzz.Face(blob).unicodes)
