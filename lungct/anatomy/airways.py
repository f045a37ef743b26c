"""The airway tree: a wave from the trachea that is cut off wherever it widens like a leak.

The wave runs through darker air first, then through ever brighter, at last through whatever is enclosed by
something brighter. What it conquers is judged piece by piece, a few voxel layers at a time: a piece wider
than its ancestors allow is lung, entered through a thin wall, and so is a thin piece without a brighter wall
around it. Every level starts from the whole tree of the level before, so that each branch is followed by
the mildest threshold that it bears (the idea of Schlathölter et al. 2002 and van Ginneken et al. 2008).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage, sparse

from lungct.anatomy.trachea import DARKER_THAN_LUNG_HU, look_for_trachea
from lungct.anatomy.work_grid import WorkGrid, from_grid, measure_narrow_height
from lungct.records import CtVolume, MaskArray, Trachea

SMOOTHING_VOXELS = 0.4
"""Width of the filter against noise; a wider one closes small bronchi. Own decision."""

AIR_LEVELS_HU = (-950.0, -930.0, -910.0, -890.0, -870.0, -850.0)
"""Levels inside the lungs, as long as they lie below the lungs' median by :data:`DARKER_THAN_LUNG_HU`."""

OUTSIDE_LUNGS_HU = 100.0
"""Raises the levels outside the lungs, where soft tissue instead of lung lies behind the wall."""

ENCLOSED_LEVELS_HU = (200.0, 150.0, 110.0)
"""Least difference between a lumen that is no darker than lung and its surroundings. Own decision."""

ENCLOSED_WIDTH_MM = 7.0
"""Width below which lumina are recognised by their walls; wider ones are air in any scan. Own decision."""

DARK_HU = -550.0
"""Upper limit of any lumen, however narrow. Own decision."""

LUMEN_BORDER_HU = -500.0
"""Half-way between air (-1000 HU) and soft tissue: the unbiased border outside the lungs."""

LAYERS = 3
"""Number of voxel layers that are judged together. Own decision."""

WIDENING = 2.5
"""Factor by which descendants of a piece may be wider: a bronchus widens where it forks. Own decision."""

TAPER = 0.7
"""Share of its limit that a trunk keeps from piece to piece where a narrow spot would allow less. Own
decision."""

SMALLEST_LIMIT_MM2 = 12.0
"""Sections up to 4 mm across, which are never too wide: so small, voxels are counted, not areas measured. Own
decision."""

THIN_MM2 = 25.0
THIN_WALL_HU = 80.0
"""Pieces up to this section must be darker than their wall by this much on average, about twice the
noise. Own decision."""

SHORTEST_SPUR = 3
"""Number of pieces below which a side branch is noise on the wall. Own decision."""

MOST_ROUNDS = 250
"""Limit for the time of a level: 750 layers are more than any airway is long. Own decision."""

PADDING = 1

BoolArray = npt.NDArray[np.bool_]
IndexArray = npt.NDArray[np.intp]
FloatArray = npt.NDArray[np.float32]


def segment_airways(volume: CtVolume, lobes: MaskArray, trachea: Trachea | None = None) -> MaskArray:
    """Find the lumen of trachea and bronchi.

    Args:
        volume: canonical volume.
        lobes: labels on the same grid, 0 outside the lungs.
        trachea: the trachea if it is known; it is looked for where None.

    Returns:
        ``[slices, rows, columns]``, 1 in the lumen; empty without lobes or where no trachea is seen.
    """
    airways = np.zeros(volume.volume_hu.shape, np.uint8)
    seen = look_for_trachea(volume, lobes, trachea)
    if seen is not None:
        tree = grow_tree(seen.hu, seen.lungs, seen.trachea, seen.grid)
        airways[seen.grid.box] = from_grid(tree, seen.grid)
    return airways


def grow_tree(hu: FloatArray, lungs: BoolArray, trachea: BoolArray, grid: WorkGrid) -> BoolArray:
    """Grow the airways from the trachea; all arrays ``[slices, rows, columns]`` on a grid of even voxels."""
    smooth = ndimage.gaussian_filter(hu, SMOOTHING_VOXELS)
    darkness = torch.from_numpy(-np.rint(smooth).astype(np.int16))
    enclosed = measure_narrow_height(darkness, ENCLOSED_WIDTH_MM, grid.spacing_mm).numpy()
    padded = [np.pad(array, PADDING) for array in (smooth, enclosed, lungs, trachea)]
    hu, enclosed, lungs, trachea = (array.ravel() for array in padded)
    tree = _Tree(np.flatnonzero(trachea), padded[0].shape, grid, enclosed)
    before = np.zeros(hu.size, bool)
    lung_hu = float(np.median(hu[lungs]))
    for level in (level for level in AIR_LEVELS_HU if level < lung_hu - DARKER_THAN_LUNG_HU):
        air = hu < np.where(lungs, level, level + OUTSIDE_LUNGS_HU)
        tree.thicken(air & ~before)
        tree.grow(air)
        before = air
    for level in ENCLOSED_LEVELS_HU:
        narrow = (enclosed > level) & (hu < DARK_HU) & lungs
        tree.thicken(narrow)
        tree.grow(narrow)
    tree.thicken((hu < LUMEN_BORDER_HU) & ~lungs)
    core = (slice(PADDING, -PADDING),) * 3
    return tree.without_spurs().reshape(padded[0].shape)[core]


class _Tree:
    """A growing tree on a flattened, padded grid: which piece every voxel belongs to, and how pieces hang.

    Attributes:
        piece: number of the piece of every voxel; 0 outside the tree, 1 in the trachea.
        parents: the piece each piece springs from.
        limits_mm2: the widest section that each piece allows its children.
    """

    def __init__(
        self, seed: IndexArray, shape: tuple[int, ...], grid: WorkGrid, enclosed: npt.NDArray[np.int16]
    ) -> None:
        self.enclosed = enclosed
        self.voxel_mm2 = grid.voxel_mm3 ** (2 / 3)
        self.piece = np.zeros(enclosed.size, np.int32)
        self.piece[seed] = 1
        n_sections = np.unique(seed // (shape[1] * shape[2])).size
        self.parents = [0, 1]
        self.limits_mm2 = [0.0, WIDENING * seed.size / n_sections * self.voxel_mm2]
        steps = np.argwhere(np.ones((3, 3, 3))) - 1
        offsets = steps @ (shape[1] * shape[2], shape[2], 1)
        self._offsets = offsets[offsets != 0]
        self._order = np.full(enclosed.size, -1, np.int32)

    def _around(self, voxels: IndexArray) -> IndexArray:
        """Return the 26 neighbours ``[n, 26]`` of voxels ``[n]``."""
        return np.asarray(voxels[:, None] + self._offsets)

    def thicken(self, allowed: BoolArray) -> None:
        """Give every allowed neighbour of the tree to the piece it touches."""
        near = np.unique(self._around(np.flatnonzero(self.piece)))
        near = near[allowed[near] & (self.piece[near] == 0)]
        self.piece[near] = self.piece[self._around(near)].max(axis=1)

    def grow(self, allowed: BoolArray) -> None:
        """Send a wave from the whole tree into allowed voxels."""
        visited = self.piece > 0
        front = np.flatnonzero(visited)
        for n_rounds in range(MOST_ROUNDS):
            layers = []
            for _ in range(LAYERS):
                near = np.unique(self._around(front))
                front = near[allowed[near] & ~visited[near]]
                visited[front] = True
                layers.append(front)
            if not layers[0].size:
                return
            front = self._judge(layers, has_trunk=n_rounds > 0)

    def _judge(self, layers: list[IndexArray], *, has_trunk: bool) -> IndexArray:
        """Take in the pieces of new layers that look like airway; return their last layer.

        Args:
            layers: new voxels, innermost first.
            has_trunk: the widest child of a piece continues it; in the first round it is a side branch.
        """
        voxels = np.concatenate(layers)
        n_pieces, label = self._connected(voxels)
        size = np.bincount(label, minlength=n_pieces)
        area_mm2 = size * self.voxel_mm2 / LAYERS
        wall_hu = np.bincount(label, self.enclosed[voxels], n_pieces) / size
        parent = self._parents_of(layers[0], label[: layers[0].size], n_pieces)
        limit_mm2 = np.asarray(self.limits_mm2)[parent]
        fits = (area_mm2 <= limit_mm2) & ((area_mm2 > THIN_MM2) | (wall_hu > THIN_WALL_HU))
        widest = np.zeros(len(self.parents))
        np.maximum.at(widest, parent, area_mm2 * fits)
        is_trunk = (area_mm2 == widest[parent]) & has_trunk
        own_mm2 = np.maximum(WIDENING * area_mm2, SMALLEST_LIMIT_MM2)
        own_mm2 = np.minimum(np.maximum(own_mm2, np.where(is_trunk, TAPER * limit_mm2, 0.0)), limit_mm2)
        self.piece[voxels] = np.where(fits, np.cumsum(fits) + len(self.parents) - 1, 0)[label]
        self.parents.extend(parent[fits].tolist())
        self.limits_mm2.extend(own_mm2[fits].tolist())
        last = label[voxels.size - layers[-1].size :]
        front: IndexArray = layers[-1][fits[last]]
        return front

    def _connected(self, voxels: IndexArray) -> tuple[int, npt.NDArray[np.int32]]:
        """Return the number of 26-connected pieces of ``voxels`` and the piece of each."""
        self._order[voxels] = np.arange(voxels.size)
        half = self._offsets[self._offsets > 0]
        near = self._order[voxels[:, None] + half]
        self._order[voxels] = -1
        one, way = np.nonzero(near >= 0)
        links = sparse.coo_matrix((np.ones(one.size, bool), (one, near[one, way])), (voxels.size,) * 2)
        n_pieces, label = sparse.csgraph.connected_components(links, directed=False)
        return n_pieces, label

    def _parents_of(self, inner: IndexArray, label: npt.NDArray[np.int32], n_pieces: int) -> IndexArray:
        """Return, for each new piece, the most permissive piece that its innermost voxels touch."""
        limits_mm2 = np.asarray(self.limits_mm2)
        touched = self.piece[self._around(inner)]
        best = touched[np.arange(inner.size), limits_mm2[touched].argmax(axis=1)]
        rising = np.argsort(limits_mm2[best])
        parent = np.zeros(n_pieces, np.intp)
        parent[label[rising]] = best[rising]
        return parent

    def without_spurs(self) -> BoolArray:
        """Return the tree without side branches that end at once."""
        n_pieces = len(self.parents)
        height, tallest = np.ones(n_pieces, int), np.zeros(n_pieces, int)
        for piece in range(n_pieces - 1, 1, -1):
            parent = self.parents[piece]
            if height[piece] + 1 > height[parent]:
                height[parent], tallest[parent] = height[piece] + 1, piece
        kept = np.arange(n_pieces) == 1
        for piece in range(2, n_pieces):
            parent = self.parents[piece]
            lasts = height[piece] >= SHORTEST_SPUR or (tallest[parent] == piece and parent > 1)
            kept[piece] = kept[parent] and lasts
        return np.asarray(kept[self.piece])
