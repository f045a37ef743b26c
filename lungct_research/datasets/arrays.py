"""Types of the arrays that hold chests, masks and labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]
Spacing = tuple[float, float, float]
"""Size of a voxel in millimetres along slices, rows and columns."""
