"""Heart, great vessels, oesophagus, trachea, main bronchi and hila as simple shapes.

Coordinates (z, y, x) are canonical: millimetres in a body of scale 1, see
``lungct_research.synthesis.phantom.anatomy``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from lungct.records import Lobe
from lungct_research.synthesis.phantom.fields import Capsule, Ellipsoid, Point, Shape

TRACHEAL, MAIN, LOBAR = range(3)
"""Generations of the windpipe; the next are segmental bronchi."""

HEART_MUSCLE_MM = 9.0
CARINA: Point = (34.0, 15.0, 3.0)
RIGHT_MAIN_END: Point = (14.0, 21.0, -33.0)
LEFT_MAIN_END: Point = (4.0, 25.0, 40.0)
HILA: dict[Lobe, Point] = {
    Lobe.LEFT_UPPER: (10.0, 17.0, 46.0),
    Lobe.LEFT_LOWER: (-14.0, 31.0, 45.0),
    Lobe.RIGHT_UPPER: (22.0, 18.0, -42.0),
    Lobe.RIGHT_MIDDLE: (-9.0, 8.0, -42.0),
    Lobe.RIGHT_LOWER: (-18.0, 27.0, -41.0),
}
VEIN_ROOTS: dict[Lobe, Point] = {
    Lobe.LEFT_UPPER: (2.0, 4.0, 46.0),
    Lobe.LEFT_LOWER: (-26.0, 24.0, 42.0),
    Lobe.RIGHT_UPPER: (6.0, 6.0, -42.0),
    Lobe.RIGHT_MIDDLE: (-17.0, 3.0, -42.0),
    Lobe.RIGHT_LOWER: (-28.0, 22.0, -38.0),
}

WINDPIPE_GENERATIONS = (TRACHEAL, TRACHEAL, MAIN, MAIN, *(LOBAR for _ in HILA))


@dataclass(frozen=True)
class Mediastinum:
    """The shapes of one person's mediastinum.

    Attributes:
        heart: chambers with the muscle around them.
        blood: vessels that carry blood, and the chambers' lumen.
        soft: oesophagus, hilar tissue, thyroid.
        windpipe: lumen of trachea, main and lobar bronchi, in the order of ``WINDPIPE_GENERATIONS``.
    """

    heart: tuple[Ellipsoid, ...]
    blood: tuple[Shape, ...]
    soft: tuple[Shape, ...]
    windpipe: tuple[Capsule, ...]


def draw_mediastinum(rng: np.random.Generator) -> Mediastinum:
    """Draw the mediastinum of one person; sizes and places vary by some ten percent."""
    size = float(rng.uniform(0.9, 1.12))
    heart = _heart(rng, size)
    chambers = []
    for wall in heart:
        z, y, x = (radius - HEART_MUSCLE_MM for radius in wall.radii)
        chambers.append(replace(wall, radii=(z, y, x)))
    vessels = tuple(_great_vessels(float(rng.uniform(0.88, 1.15)), float(rng.uniform(-4, 5))))
    return Mediastinum(heart, (*chambers, *vessels), tuple(_soft(rng)), tuple(_windpipe(rng)))


def _heart(rng: np.random.Generator, size: float) -> tuple[Ellipsoid, ...]:
    turn = float(rng.uniform(0.45, 0.75))
    tilt = float(rng.uniform(0.25, 0.5))
    left, low = (float(v) for v in rng.uniform(-4, 4, 2))
    ventricles = Ellipsoid((-48 + low, -20, 24 + left), (42 * size, 37 * size, 56 * size), -turn, -tilt)
    right_atrium = Ellipsoid((-38 + low, -8, -18), (38 * size, 33 * size, 32 * size))
    outflow = Ellipsoid((-16 + low, -34, 6), (34 * size, 26 * size, 32 * size))
    left_atrium = Ellipsoid((-20, 18, 4), (22 * size, 19 * size, 36 * size))
    return ventricles, right_atrium, outflow, left_atrium


def _chain(points: list[Point], radii: list[float]) -> Iterator[Capsule]:
    for start, end, first, last in zip(points, points[1:], radii, radii[1:], strict=False):
        yield Capsule(start, end, first, last)


def _great_vessels(size: float, arch_mm: float) -> Iterator[Shape]:
    top = 56 + arch_mm
    aorta: list[Point] = [
        (-20, -22, -6), (10, -30, -16), (38, -24, -15), (top - 3, -8, -4), (top, 10, 10), (top - 6, 28, 20),
        (top - 22, 40, 25), (0, 46, 25), (-60, 46, 21), (-110, 44, 10), (-200, 40, 4),
    ]  # fmt: skip
    yield from _chain(aorta, [15 * size] * 4 + [13.5 * size] * 3 + [12 * size] * 4)
    yield from _chain([(-10, -36, 10), (12, -30, 16), (20, -8, 19)], [14 * size, 13 * size, 12 * size])
    yield from _chain([(16, -8, 16), (14, 0, -10), (6, 8, -40)], [10 * size, 9.5 * size, 7 * size])
    yield from _chain([(20, -8, 20), (22, 12, 38), (-4, 27, 45)], [10.5 * size, 10 * size, 7 * size])
    yield from _chain([(64, -22, -26), (20, -18, -28), (-30, -8, -26)], [8.5 * size, 9.5 * size, 11 * size])
    yield from _chain([(-60, 4, -20), (-200, 16, -22)], [13 * size, 12 * size])
    yield from _chain([(64, -22, -26), (92, -30, -30), (108, -30, -38)], [8 * size, 7 * size, 6 * size])
    yield from _chain([(64, -24, -26), (78, -32, 10), (94, -30, 34)], [7 * size, 6.5 * size, 6 * size])
    for x, y in ((-14, -8), (12, 2), (22, 14)):
        yield Capsule((top, y + 4, 0.4 * x), (104 + arch_mm, y - 4, 1.5 * x), 5.5 * size, 5 * size)
    for root in VEIN_ROOTS.values():
        yield Capsule((-20, 14, float(np.sign(root[2])) * 20), root, 8 * size, 6 * size)


def _soft(rng: np.random.Generator) -> Iterator[Shape]:
    aside = float(rng.uniform(0, 6))
    gullet: list[Point] = [(180, 26, 2), (70, 32, aside), (0, 34, aside), (-70, 30, 8), (-95, 22, 20)]
    yield from _chain(gullet, [8.0] * 5)
    for side in (-1, 1):
        yield Ellipsoid((3, 17, 41.0 * side), (24, 15, 7))
        yield Ellipsoid((125, 4, 20.0 * side), (20, 11, 9))
    for _ in range(int(rng.integers(4, 9))):
        z, y, x = rng.uniform((-10, -25, -20), (80, 25, 20))
        yield Ellipsoid((float(z), float(y), float(x)), (5, 3.5, 4))


def _windpipe(rng: np.random.Generator) -> Iterator[Capsule]:
    radius = float(rng.uniform(7.5, 9.5))
    bend = float(rng.uniform(-4, 3))
    trachea: list[Point] = [(200, -4, 0), (90, 8, bend), CARINA]
    yield from _chain(trachea, [radius] * 3)
    yield Capsule(CARINA, RIGHT_MAIN_END, 0.82 * radius, 0.72 * radius)
    yield Capsule(CARINA, LEFT_MAIN_END, 0.74 * radius, 0.6 * radius)
    for hilum in HILA.values():
        main_end = LEFT_MAIN_END if hilum[2] > 0 else RIGHT_MAIN_END
        yield Capsule(main_end, hilum, 0.58 * radius, 0.42 * radius)
