"""The airway tree: grown from the trachea as a wave that is cut off wherever it widens like a leak.

Air flows from the trachea into ever darker thresholds. What the wave conquers is judged piece by piece,
three voxel layers at a time: a piece wider than its ancestors allow is lung that was entered through a thin
wall, and so is a thin piece without a brighter wall around it. Each level starts from the whole tree of the
level before, so that every branch is followed with the mildest threshold it bears.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage, sparse

from lungct.anatomy.work_grid import from_grid, lay_grid, narrow_height, to_grid
from lungct.records import CtVolume, MaskArray

WORK_SPACING_MM = 1.0
MARGIN_MM = (5.0, 80.0, 10.0)
SMOOTHING_MM = 0.4

AIR_LEVELS_HU = (-950.0, -930.0, -910.0, -890.0, -870.0, -850.0)
ENCLOSED_LEVELS_HU = (200.0, 150.0, 110.0)
OUTSIDE_HU = 150.0
DARK_HU = -550.0
CLOSING_MM = 7.0

TRACHEA_AIR_HU = -800.0
TRACHEA_AREA_MM2 = (40.0, 700.0)
TRACHEA_HEIGHT_MM = 15.0
OFF_CENTRE_MM = 40.0

LAYERS = 3
WIDENING = 2.0
SMALLEST_LIMIT_MM2 = 12.0
TAPER = 0.7
MAX_ROUNDS = 250
THIN_MM2 = 25.0
THIN_WALL_HU = 80.0
SHORTEST_SPUR = 2

PADDING = 2

BoolArray = npt.NDArray[np.bool_]
IndexArray = npt.NDArray[np.intp]
FloatArray = npt.NDArray[np.float32]


def segment_airways(volume: CtVolume, lobes: MaskArray) -> MaskArray:
    airways = np.zeros(volume.volume_hu.shape, np.uint8)
    if not lobes.any():
        return airways
    grid = lay_grid(lobes, volume.spacing_mm, (WORK_SPACING_MM,) * 3, MARGIN_MM)
    hu = to_grid(volume.volume_hu, grid).numpy()
    lungs = to_grid((lobes > 0).astype(np.uint8), grid).numpy() > 0.5
    trachea = find_trachea(hu, lungs, grid.spacing_mm)
    if trachea is None:
        return airways
    tree = grow_tree(hu, lungs, trachea, grid)
    airways[grid.box] = from_grid(tree, grid)
    return airways


def find_trachea(hu: FloatArray, lungs: BoolArray, spacing_mm: tuple[float, float, float]) -> BoolArray | None:
    """The tallest stack of round, enclosed sections of air near the mid-line; None where there is none."""
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    sections, n_sections = ndimage.label(hu < TRACHEA_AIR_HU, in_plane)
    columns = np.flatnonzero(lungs.any(axis=(0, 1)))
    middle = (columns[0] + columns[-1]) / 2
    inside = np.bincount(sections[lungs], minlength=n_sections + 1)
    size = np.bincount(sections.ravel(), minlength=n_sections + 1)
    area_mm2 = size * spacing_mm[1] * spacing_mm[2]
    fits = (area_mm2 > TRACHEA_AREA_MM2[0]) & (area_mm2 < TRACHEA_AREA_MM2[1]) & (inside < 0.3 * size)
    fits[0] = False
    fits[np.unique(sections[:, [0, -1]])] = False
    fits[np.unique(sections[:, :, [0, -1]])] = False
    for number, box in enumerate(ndimage.find_objects(sections), 1):
        if fits[number]:
            _, rows, cols = box
            height = (rows.stop - rows.start) * spacing_mm[1]
            width = (cols.stop - cols.start) * spacing_mm[2]
            off_mm = abs((cols.start + cols.stop) / 2 - middle) * spacing_mm[2]
            fits[number] = (
                max(height, width) < 2.5 * min(height, width)
                and area_mm2[number] > 0.5 * height * width
                and off_mm < OFF_CENTRE_MM
            )
    stacks, _ = ndimage.label(fits[sections])
    heights = [(box[0].stop - box[0].start) * spacing_mm[0] for box in ndimage.find_objects(stacks)]
    if not heights or max(heights) < TRACHEA_HEIGHT_MM:
        return None
    return np.asarray(stacks == int(np.argmax(heights)) + 1)


class _Tree:
    def __init__(self, seed, shape, voxel_mm3, seed_area_mm2):
        self.voxel_mm3 = voxel_mm3
        self.piece = np.zeros(int(np.prod(shape)), np.int32)
        self.order = np.full(self.piece.size, -1, np.int32)
        self.parents = [0, 0]
        self.limits = [0.0, WIDENING * seed_area_mm2]
        self.piece[seed] = 1
        steps = np.array(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij")).reshape(3, -1).T
        offsets = steps @ np.array([shape[1] * shape[2], shape[2], 1])
        self.offsets = offsets[offsets != 0]

    def around(self, voxels):
        return voxels[:, None] + self.offsets

    def components(self, voxels):
        self.order[voxels] = np.arange(voxels.size)
        near = self.order[voxels[:, None] + self.offsets[self.offsets > 0]]
        self.order[voxels] = -1
        one, column = np.nonzero(near >= 0)
        graph = sparse.coo_matrix((np.ones(one.size, bool), (one, near[one, column])), (voxels.size,) * 2)
        return sparse.csgraph.connected_components(graph, directed=False)

    def skin(self, allowed):
        tree = np.flatnonzero(self.piece)
        near = np.unique(self.around(tree))
        near = near[allowed[near] & (self.piece[near] == 0)]
        self.piece[near] = self.piece[self.around(near)].max(axis=1)

    def grow(self, front, allowed, enclosed):
        visited = self.piece > 0
        for i in range(MAX_ROUNDS):
            voxels, layer = self.advance(front, allowed, visited)
            if not voxels.size:
                break
            front = self.judge(voxels, layer, enclosed, goes_on=i > 0)

    def advance(self, front, allowed, visited):
        layers = []
        for _ in range(LAYERS):
            near = np.unique(self.around(front))
            front = near[allowed[near] & ~visited[near]]
            visited[front] = True
            layers.append(front)
        return np.concatenate(layers), np.repeat(np.arange(LAYERS), [len(x) for x in layers])

    def judge(self, voxels, layer, enclosed, goes_on):
        n, piece = self.components(voxels)
        size = np.bincount(piece, minlength=n)
        area = size * self.voxel_mm3 ** (2 / 3) / LAYERS
        wall = np.bincount(piece, enclosed[voxels], n) / size
        limits = np.asarray(self.limits, np.float32)
        first = layer == 0
        near = self.piece[self.around(voxels[first])]
        parent_of_voxel = near[np.arange(len(near)), limits[near].argmax(axis=1)]
        parent = np.zeros(n, np.int32)
        order = np.argsort(limits[parent_of_voxel])
        parent[piece[first][order]] = parent_of_voxel[order]
        fits = (area <= limits[parent]) & ((area > THIN_MM2) | (wall > THIN_WALL_HU))
        numbers = np.where(fits, np.cumsum(fits) + len(self.parents) - 1, 0)
        n_limits = len(limits)
        largest = np.zeros(n_limits)
        np.maximum.at(largest, parent, area * fits)
        main = (area == largest[parent]) & goes_on
        floor = np.where(main, TAPER * limits[parent], SMALLEST_LIMIT_MM2)
        limit = np.minimum(np.maximum(WIDENING * area, np.maximum(floor, SMALLEST_LIMIT_MM2)), limits[parent])
        self.parents.extend(parent[fits].tolist())
        self.limits.extend(limit[fits].tolist())
        self.piece[voxels] = numbers[piece]
        return voxels[(layer == LAYERS - 1) & fits[piece]]

    def pruned(self):
        n = len(self.parents)
        height = np.zeros(n, int)
        best = np.zeros(n, int)
        for k in range(n - 1, 1, -1):
            p = self.parents[k]
            if height[k] + 1 > height[p]:
                height[p] = height[k] + 1
                best[p] = k
        keep = np.zeros(n, bool)
        keep[1] = True
        for k in range(2, n):
            p = self.parents[k]
            keep[k] = keep[p] and (height[k] + 1 >= SHORTEST_SPUR or (best[p] == k and p != 1))
        return keep[self.piece]


def grow_tree(hu, lungs, trachea, grid, debug=None):
    hu = ndimage.gaussian_filter(hu, SMOOTHING_MM)
    enclosed = narrow_height(torch.from_numpy(-np.rint(hu).astype(np.int16)), CLOSING_MM, grid.spacing_mm).numpy()
    hu, inside, start, enclosed = (
        np.pad(a, PADDING, constant_values=v) for a, v in ((hu, 3000), (lungs, False), (trachea, False), (enclosed, 0))
    )
    shape = hu.shape
    hu, inside, start, enclosed = (a.ravel() for a in (hu, inside, start, enclosed))
    seed = np.flatnonzero(start)
    tall = np.count_nonzero(trachea.any(axis=(1, 2)))
    tree = _Tree(seed, shape, grid.voxel_mm3, seed.size / tall * grid.voxel_mm3 ** (2 / 3))
    before = np.zeros(hu.size, bool)
    for level in AIR_LEVELS_HU:
        allowed = hu < np.where(inside, level, level + OUTSIDE_HU)
        tree.skin(allowed & ~before)
        tree.grow(np.flatnonzero(tree.piece), allowed, enclosed)
        before = allowed
        if debug is not None: debug.append((level, (tree.piece > 0).sum(), ((tree.piece > 0) & inside).sum()))
    for level in ENCLOSED_LEVELS_HU:
        tree.grow(np.flatnonzero(tree.piece), (enclosed > level) & inside & (hu < DARK_HU), enclosed)
        if debug is not None: debug.append((level, (tree.piece > 0).sum(), ((tree.piece > 0) & inside).sum()))
    kept = tree.pruned()
    if debug is not None: debug.append(('pruned', kept.sum(), (kept & inside).sum()))
    core = slice(PADDING, -PADDING)
    return kept.reshape(shape)[core, core, core]
