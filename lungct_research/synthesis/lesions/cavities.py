"""Cavities: gas where consolidated lung has died, as in abscess, necrotising pneumonia and tuberculosis."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lungct_research.datasets.arrays import FloatArray
from lungct_research.datasets.densities import GAS_HU
from lungct_research.synthesis.fields import signed_depth_mm
from lungct_research.synthesis.lesions.kinds import Kind
from lungct_research.synthesis.lesions.painting import Host
from lungct_research.synthesis.lesions.shapes import blob

LEAST_DEPTH_MM = 6.0
"""A consolidation that is nowhere deeper has no room for a cavity with its wall."""

WALL_SHARE = (0.2, 0.5)
"""Of the depth; own decision."""


def with_cavity(
    host: Host, volume_hu: FloatArray, kinds: npt.NDArray[np.uint8], rng: np.random.Generator
) -> FloatArray:
    """A volume with a cavity in its deepest consolidation; unchanged where none is deep enough.

    Args:
        host: what the infection was painted into.
        volume_hu: with the infection.
        kinds: of its lesions, :attr:`lungct_research.synthesis.lesions.Kind.label`.
        rng: source of size, shape and density.
    """
    depth_mm = signed_depth_mm(kinds == Kind.CONSOLIDATION.label, host.spacing_mm)
    deepest = np.unravel_index(depth_mm.argmax(), depth_mm.shape)
    if depth_mm[deepest] < LEAST_DEPTH_MM:
        return volume_hu
    centre_mm = (np.array(deepest) + 0.5) * host.spacing_mm
    radius_mm = float(depth_mm[deepest]) * (1 - rng.uniform(*WALL_SHARE))
    shape_mm, box = blob(host, rng, centre_mm.astype(np.float32), radius_mm, roughness=0.15)
    gas = np.clip(0.5 + shape_mm / host.spacing_mm[1], 0, 1) * (kinds[box] == Kind.CONSOLIDATION.label)
    changed = volume_hu.copy()
    changed[box] += gas.astype(np.float32) * (np.float32(rng.uniform(*GAS_HU)) - changed[box])
    return changed
