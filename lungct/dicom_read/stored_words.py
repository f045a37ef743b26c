"""Read stored words that do not fit Bits Stored or Pixel Representation (PS3.5 8.1.1).

Exporters write Bits Stored that follow the largest value of each slice, negative padding among unsigned
values, or unsigned values that are declared as signed. Cut to Bits Stored, air turns into water.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lungct.decoding import StoredArray

PLAUSIBLE_HU = (-1100, 3071)
"""Own decision: from air with noise to the end of the 12-bit scale; what lies outside is padding or metal."""


@dataclass(frozen=True)
class WordFormat:
    """What a header says about its stored words."""

    bits_stored: int
    is_signed: bool
    slope: float
    intercept: float


def read_words(stored: StoredArray, said: WordFormat) -> tuple[StoredArray, bool]:
    """Return the values that stored words most likely mean.

    Words that fit the header are taken as it says, also negative ones without sign extension. Where they do
    not fit, or most likely mean something else, the whole word counts if it gives plausible Hounsfield units,
    else its lowest Bits Stored.

    Args:
        stored: words ``[rows, columns]`` as stored, of any integer type.
        said: by the header.

    Returns:
        The values, and whether they contradict the header.
    """
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    n_bits = 8 * stored.dtype.itemsize
    bits = said.bits_stored if 0 < said.bits_stored < n_bits else n_bits
    whole = stored.view(_dtype(n_bits, is_signed=said.is_signed))
    lowest, highest = int(whole.min()), int(whole.max())
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if said.is_signed else (0, (1 << bits) - 1)
    if least <= lowest and highest <= most and _are_plausible((lowest, highest), said):
        return whole, False
    fits = _fit(whole, bits, is_signed=said.is_signed)
    cut = _cut(stored, bits, is_signed=said.is_signed)
    others = (
        whole,
        stored.view(_dtype(n_bits, is_signed=not said.is_signed)),
        cut,
        _cut(stored, bits, is_signed=not said.is_signed),
    )
    candidates = (cut, *others) if fits else others
    scores = [_implausible_share(values, said) for values in candidates]
    best = int(np.argmin(scores))
    return candidates[best], not fits or not np.array_equal(candidates[best], cut)


def _are_plausible(ends: tuple[int, int], said: WordFormat) -> bool:
    ends_hu = sorted(end * said.slope + said.intercept for end in ends)
    return PLAUSIBLE_HU[0] <= ends_hu[0] and ends_hu[1] <= PLAUSIBLE_HU[1]


def _dtype(n_bits: int, *, is_signed: bool) -> np.dtype[np.integer]:
    return np.dtype(f"{'i' if is_signed else 'u'}{n_bits // 8}")


def _fit(whole: StoredArray, bits: int, *, is_signed: bool) -> bool:
    """Return whether every word is one of so many bits, with or without sign extension."""
    if not is_signed:
        return int(whole.max()) < 1 << bits
    return -(1 << bits - 1) <= int(whole.min()) and int(whole.max()) < 1 << bits


def _cut(stored: StoredArray, bits: int, *, is_signed: bool) -> StoredArray:
    """Return the lowest bits of every word, with their own sign."""
    n_bits = 8 * stored.dtype.itemsize
    unused = n_bits - bits
    unsigned = stored.view(_dtype(n_bits, is_signed=False))
    shifted = np.left_shift(unsigned, unused).view(_dtype(n_bits, is_signed=is_signed))
    cut: StoredArray = np.right_shift(shifted, unused)
    return cut


def _implausible_share(values: StoredArray, said: WordFormat) -> float:
    """Return the share of pixels that no CT image holds; one value below air is padding."""
    values_hu = np.asarray(values * said.slope + said.intercept, np.float64)
    below = values_hu < PLAUSIBLE_HU[0]
    n_below = int(below.sum()) if len(np.unique(values_hu[below])) > 1 else 0
    return float(n_below + np.count_nonzero(values_hu > PLAUSIBLE_HU[1])) / values.size
