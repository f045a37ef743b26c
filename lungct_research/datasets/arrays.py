"""Types of the arrays that chests are made of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]
Spacing = tuple[float, float, float]
"""Millimetres along slices, rows and columns."""
