"""Points that lie far from all others, and small groups of them: cell by cell, in the cloud's own spacing.

The spacing of the points around a cell shows in how large the cells must be for the 27 around it to hold a few: on a
surface of even spacing the smallest do, where points are sparse larger ones. A cell is isolated when it needs cells
several times as large as those around it do. So the sparse points of a far wall stay, as they are alike, and a lone
point beside a dense surface goes. Everything is found for cells, not for points: memory and time grow with the surface,
not with how many views repeat it.
"""

import math

import numpy as np

from fusion.cells import CellTable, Grid
from fusion.store import PointStore

_SAMPLE = 200_000
_IN_CELL = 4.0  # points that a cell holds on average: its side is then twice the spacing
_BODY = (1, 99)  # percentiles along each axis of where the cloud lies
_STEPS = 24  # of the search for the spacing
_LARGEST_RATIO = 1e6  # of the cloud's size to a cell's
_ENOUGH = 8  # points around a cell
_LEVELS = 12
# So many cells at most: larger ones for clouds that would need more. Where hundreds of views repeat a surface, their
# noise fills a volume, in which cells of twice the points' spacing would be as many as the points.
_MOST_CELLS = 1 << 24
_GAP = 2  # doublings of a cell beyond which a group stands alone: eight spacings


class Selection:
    """Which points of a cloud stay: those in the cells of a grid that do."""

    def __init__(self, grid: Grid, table: CellTable, kept: np.ndarray) -> None:
        self.grid, self.table, self.kept = grid, table, kept

    def mask(self, xyz: np.ndarray) -> np.ndarray:
        """Whether each point [N, 3] stays, bool [N]."""
        places = self.table.find(self.grid.keys(xyz))
        return (places >= 0) & self.kept[places]

    @property
    def cells(self) -> np.ndarray:
        """The keys of the cells that stay."""
        return self.table.keys[self.kept]

    @property
    def count(self) -> int:
        """How many points stay."""
        return int(self.table.counts[self.kept].sum())


def select(store: PointStore, isolation: float, island: float) -> Selection:
    """The cells that stay of a cloud; `isolation` and `island` as `fusion.options.Cleaning` has them, 0 for none."""
    grid, table = spaced_grid(store), CellTable()
    for block in store.blocks():
        table.add(grid.keys(block.xyz))
        while len(table) > _MOST_CELLS:
            grid, table = grid.coarser(), table.coarser()[0]
    kept = np.ones(len(table), bool)
    if isolation and len(table):
        kept &= ~isolated(table, isolation)
    if island and len(table):
        kept[kept] = ~islands(table.keys[kept], table.counts[kept], island)
    return Selection(grid, table, kept)


def spaced_grid(store: PointStore) -> Grid:
    """Cells of twice the cloud's spacing, around its middle."""
    xyz = store.sample(_SAMPLE).astype(np.float64)
    xyz = xyz[np.isfinite(xyz).all(axis=1)]
    if not len(xyz):
        return Grid(np.zeros(3), 1.0)
    low, high = np.percentile(xyz, _BODY, axis=0)
    origin, size = (low + high) / 2, float((high - low).max())
    least = max(
        size / _LARGEST_RATIO, float(np.abs(origin).max()) * np.finfo(np.float32).eps, np.finfo(np.float32).tiny
    )
    shortest, longest = math.log(least), math.log(max(size, least))
    for _ in range(_STEPS):
        middle = (shortest + longest) / 2
        occupied = len(np.unique(_around(origin, math.exp(middle)).keys(xyz)))
        if len(xyz) / occupied < _IN_CELL:
            shortest = middle
        else:
            longest = middle
    # A surface has four times as many points in cells of twice the side: of a sample the cells are larger by as much.
    return _around(origin, max(least, math.exp(longest) * math.sqrt(len(xyz) / len(store))))


def _around(origin: np.ndarray, size: float) -> Grid:
    """Cells in one of which a point is the middle: where it lies on a wall, no border of cells runs along that."""
    return Grid(origin - size / 2, size)


def isolated(table: CellTable, ratio: float) -> np.ndarray:
    """Which cells need cells more than `ratio` times as large as those around them for a few points, bool [M]."""
    reach = np.full(len(table), float(_LEVELS))
    place, waiting = np.arange(len(table)), np.arange(len(table))
    levels = []
    for level in range(_LEVELS):
        levels.append((table, place))
        cells = np.unique(place[waiting]).astype(np.int32)
        enough = np.zeros(len(table), bool)
        enough[cells] = table.around(table.counts[:, None], cells)[:, 0] >= _ENOUGH
        done = enough[place[waiting]]
        reach[waiting[done]] = level
        waiting = waiting[~done]
        if not len(waiting):
            break
        table, up = table.coarser()
        place = up[place]
    found = reach == _LEVELS
    for level, (table, place) in enumerate(levels[1:], 1):
        own = np.flatnonzero(reach == level)
        if len(own):
            found[own] = level - _reach_around(table, place, reach, place[own]) > math.log2(ratio)
    return found


def _reach_around(table: CellTable, place: np.ndarray, reach: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The mean reach of the cells around some cells of a level, without themselves; infinite where there are none."""
    sizes = np.bincount(place, minlength=len(table))
    means = np.bincount(place, reach, len(table)) / sizes
    cells, back = np.unique(of, return_inverse=True)
    sums = table.around(np.stack([means, np.ones(len(table))], axis=1), cells.astype(np.int32), itself=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums[:, 1] > 0, sums[:, 0] / sums[:, 1], np.inf)[back]


def islands(keys: np.ndarray, counts: np.ndarray, share: float) -> np.ndarray:
    """Which of some cells belong to groups that stand alone and hold less than a share of all points, bool [M]."""
    table = CellTable()
    place = table.add(keys, counts)
    for _ in range(_GAP):
        table, up = table.coarser()
        place = up[place]
    groups = table.groups()
    sizes = np.bincount(groups, table.counts, len(table))
    return sizes[groups][place] < share * counts.sum()
