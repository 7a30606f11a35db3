"""A cloud in cubic cells: how many points each holds, what lies around it, which cells hang together.

A cell is named by a key, three numbers of 21 bits: where it lies from an origin. Tables of cells are open-addressed
hash tables, so that memory grows with the number of cells that hold something, and a look-up takes one access as a
rule. Of a large cloud a call takes minutes: none holds Python's lock, so that signs of life go on.
"""

import dataclasses

import numpy as np

from numba_cache import cached_njit

_BITS = 21
_HALF = 1 << (_BITS - 1)  # cells on either side of the origin
_FIRST_SIZE = 1 << 16
_ROOM = 2  # slots for each cell: so a look-up takes one access as a rule
FAR = -1  # the key of what lies beyond


@dataclasses.dataclass(frozen=True)
class Grid:
    """Cells of side `size` around an origin [3]."""

    origin: np.ndarray
    size: float

    def keys(self, xyz: np.ndarray) -> np.ndarray:
        """The key of each point's cell, int64 [N]; FAR where it lies a million cells off."""
        return _keys(np.ascontiguousarray(xyz), self.origin, 1.0 / self.size)

    def coarser(self) -> "Grid":
        """The grid with the cells of twice the side: those of `CellTable.coarser`."""
        return Grid(self.origin, 2 * self.size)


@cached_njit(nogil=True)
def _keys(xyz, origin, scale):
    keys = np.empty(len(xyz), np.int64)
    for i in range(len(xyz)):
        key, near = np.int64(0), True
        for axis in range(3):
            cell = np.floor((np.float64(xyz[i, axis]) - origin[axis]) * scale) + _HALF
            near = near and 0 <= cell < 2 * _HALF  # false for what is not finite
            key = (key << _BITS) | (np.int64(cell) if near else np.int64(0))
        keys[i] = key if near else FAR
    return keys


@cached_njit(inline="always")
def _slot(key, keys):
    """Where a key is in a table, or the free slot where it would be."""
    mask = np.uint64(len(keys) - 1)
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    slot = (mixed ^ (mixed >> np.uint64(32))) & mask
    while keys[slot] != key and keys[slot] != FAR:
        slot = (slot + np.uint64(1)) & mask
    return slot


class CellTable:
    """The cells that points were counted into: `keys` int64 [M] in the order in which they came, `counts` int64 [M]."""

    def __init__(self) -> None:
        self._slots = np.full(_FIRST_SIZE, FAR, np.int64)
        self._places = np.zeros(_FIRST_SIZE, np.int32)
        self._keys = np.empty(_FIRST_SIZE // _ROOM, np.int64)
        self._counts = np.zeros(_FIRST_SIZE // _ROOM, np.int64)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    @property
    def keys(self) -> np.ndarray:
        """The cells."""
        return self._keys[: self._used]

    @property
    def counts(self) -> np.ndarray:
        """What was counted in each."""
        return self._counts[: self._used]

    def add(self, keys: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Count 1, or a weight int64 [N], into the cell of each key [N]; returns their places in `keys`, -1 for FAR."""
        places = np.empty(len(keys), np.int32)
        weights = np.ones(1, np.int64) if weights is None else weights
        done = 0
        while True:
            tables = (self._slots, self._places, self._keys, self._counts)
            done, self._used = _add(keys, weights, done, *tables, self._used, places)
            if done == len(keys):
                return places
            self._grow()

    def _grow(self) -> None:
        size = 2 * len(self._slots)
        self._slots, self._places = np.full(size, FAR, np.int64), np.zeros(size, np.int32)
        _fill(self.keys, self._slots, self._places)
        for name in ("_keys", "_counts"):
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.zeros_like(old)]))

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Each key's place in `keys`, int32 [N]; -1 where there is no such cell."""
        return _find(keys, self._slots, self._places)

    def coarser(self) -> tuple["CellTable", np.ndarray]:
        """The cells of twice the side with what they hold, and the place there of each of these cells [M]."""
        table = CellTable()
        return table, table.add(coarser_keys(self.keys), self.counts)

    def around(self, values: np.ndarray, of: np.ndarray, itself: bool = True) -> np.ndarray:
        """Sums [n, C] of values [M, C] over the 27 cells around some cells, places int32 [n]; without the middle one
        where `itself` is False."""
        sums = np.zeros((len(of), values.shape[1]), values.dtype)
        _around(self.keys, self._slots, self._places, values, of, itself, sums)
        return sums

    def groups(self) -> np.ndarray:
        """For each cell the place of one cell of its group, int32 [M]; cells hang together that touch at a corner."""
        parents = np.arange(len(self), dtype=np.int32)
        _join_neighbours(self.keys, self._slots, self._places, parents)
        return parents


@cached_njit(nogil=True)
def _add(keys, weights, start, slots, places, cells, counts, used, found):
    """Go on counting at `start`; stops where the table is full. Returns where it stopped and the number of cells."""
    for i in range(start, len(keys)):
        if keys[i] == FAR:
            found[i] = -1
            continue
        slot = _slot(keys[i], slots)
        if slots[slot] == FAR:
            if used == len(cells):
                return i, used
            slots[slot], places[slot], cells[used] = keys[i], used, keys[i]
            used += 1
        found[i] = places[slot]
        counts[places[slot]] += weights[i] if len(weights) > 1 else weights[0]
    return len(keys), used


@cached_njit(nogil=True)
def _fill(cells, slots, places):
    for i in range(len(cells)):
        slot = _slot(cells[i], slots)
        slots[slot], places[slot] = cells[i], i


@cached_njit(nogil=True)
def _find(keys, slots, places):
    found = np.empty(len(keys), np.int32)
    for i in range(len(keys)):
        slot = _slot(keys[i], slots)
        found[i] = places[slot] if keys[i] != FAR and slots[slot] == keys[i] else -1
    return found


@cached_njit(nogil=True)
def coarser_keys(keys):
    """The keys of the cells of twice the side."""
    result = np.empty(len(keys), np.int64)
    mask = np.int64((1 << _BITS) - 1)
    for i in range(len(keys)):
        key = np.int64(0)
        for axis in range(3):
            # Counted from the corner, so that the middle stays the middle: half of it is added again.
            cell = (keys[i] >> (_BITS * (2 - axis))) & mask
            key = (key << _BITS) | ((cell >> 1) + _HALF // 2)
        result[i] = key
    return result


@cached_njit(inline="always")
def _neighbour(key, dx, dy, dz):
    """The key of the cell so many steps off; FAR beyond the grid's end."""
    mask = np.int64((1 << _BITS) - 1)
    x, y, z = (key >> (2 * _BITS)) + dx, ((key >> _BITS) & mask) + dy, (key & mask) + dz
    if x < 0 or x > mask or y < 0 or y > mask or z < 0 or z > mask:
        return np.int64(FAR)
    return (x << (2 * _BITS)) | (y << _BITS) | z


@cached_njit(nogil=True)
def _around(cells, slots, places, values, of, itself, sums):
    for i in range(len(of)):
        for step in range(27):
            if step == 13 and not itself:
                continue
            key = _neighbour(cells[of[i]], step // 9 - 1, step // 3 % 3 - 1, step % 3 - 1)
            if key == FAR:
                continue
            slot = _slot(key, slots)
            if slots[slot] == key:
                for c in range(values.shape[1]):
                    sums[i, c] += values[places[slot], c]


@cached_njit(inline="always")
def _root(parents, i):
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@cached_njit(nogil=True)
def _join_neighbours(cells, slots, places, parents):
    """Make every cell's parent the smallest place of its group."""
    for i in range(len(cells)):
        for step in range(13):  # the other half looks back
            key = _neighbour(cells[i], step // 9 - 1, step // 3 % 3 - 1, step % 3 - 1)
            if key == FAR:
                continue
            slot = _slot(key, slots)
            if slots[slot] == key:
                a, b = _root(parents, i), _root(parents, places[slot])
                parents[max(a, b)] = min(a, b)
    for i in range(len(cells)):
        parents[i] = _root(parents, i)
