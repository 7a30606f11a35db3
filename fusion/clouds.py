"""What becomes of fused points on their way into a PLY: cropping, one point per voxel, thinning, normals.

Every fusion hands its points over view by view; they pass through in the order box, voxels, thinning. A box and normals
need memory for one view; `merge_voxels` and `thin` say what they keep.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np

from datasets.files import DataError, PathLike
from datasets.formats.ply import ply_writer

_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclasses.dataclass(frozen=True)
class CloudOptions:
    """How a cloud is written: with normals or not; only what lies in `bbox` (x0, y0, z0, x1, y1, z1, world units, faces
    included); one mean point per cube of side `voxel`; at most `max_points`, drawn at random with `seed`.

    Raises DataError, in the words of the programs' flags, for values that cannot be.
    """

    normals: bool = False
    bbox: tuple[float, ...] | None = None
    voxel: float | None = None
    max_points: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.bbox is not None:
            text = ",".join(f"{value:g}" for value in self.bbox)
            if len(self.bbox) != 6 or any(math.isnan(value) for value in self.bbox):
                raise DataError(f"--bbox={text}: needs six numbers x0,y0,z0,x1,y1,z1")
            if not all(low < high for low, high in zip(self.bbox[:3], self.bbox[3:], strict=True)):
                raise DataError(f"--bbox={text}: is an empty box; x0 < x1, y0 < y1 and z0 < z1 must hold")
        if self.voxel is not None and not _SMALLEST <= self.voxel < math.inf:
            raise DataError(f"--voxel {self.voxel:g}: must be a positive size in world units")
        if self.max_points is not None and self.max_points < 1:
            raise DataError(f"--max_points {self.max_points}: must be at least 1")


@dataclasses.dataclass(frozen=True)
class Points:
    """Some points of a cloud.

    xyz [M, 3] world units, float32, or float64 where that is too coarse (datasets.camera); colors [M, 3] uint8 RGB;
    normals [M, 3] float32 of length 1, or 0 where unknown; None for a cloud without normals.
    """

    xyz: np.ndarray
    colors: np.ndarray
    normals: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.xyz)

    def __getitem__(self, selected: np.ndarray | slice) -> "Points":
        return Points(*(None if values is None else values[selected] for values in self._arrays()))

    def joined(self, other: "Points") -> "Points":
        """These points, then the others."""
        pairs = zip(self._arrays(), other._arrays(), strict=True)
        return Points(*(None if values is None else np.concatenate([values, more]) for values, more in pairs))

    def _arrays(self) -> tuple[np.ndarray | None, ...]:
        return self.xyz, self.colors, self.normals


def write_cloud(ply_path: PathLike, parts: Iterable[Points], options: CloudOptions) -> int:
    """Stream the `selected` parts of a cloud into a PLY; returns the number of points written, maybe none.

    The PLY holds doubles where the first part does. The parts need normals when the options ask for them.
    """
    with ply_writer(ply_path, options.normals) as writer:
        for part in selected(parts, options):
            writer.append(part.xyz, part.colors, part.normals)
    return writer.count


def selected(parts: Iterable[Points], options: CloudOptions) -> Iterator[Points]:
    """The parts of a cloud as the options say, without points that have a coordinate that is not finite."""
    parts = (part[np.isfinite(part.xyz).all(axis=1)] for part in parts)
    if options.bbox is not None:
        parts = crop(parts, options.bbox)
    if options.voxel is not None:
        parts = merge_voxels(parts, options.voxel)
    if options.max_points is not None:
        parts = thin(parts, options.max_points, options.seed)
    yield from parts


def whole_cloud(parts: Iterable[Points], normals: bool) -> Points:
    """All parts as one, of the first one's precision; `normals`: whether they have some, which no part would tell."""
    empty = np.empty((0, 3), np.float32)
    listed = list(parts) or [Points(empty, empty.astype(np.uint8), empty if normals else None)]
    xyz, colors = (np.concatenate([getattr(part, name) for part in listed]) for name in ("xyz", "colors"))
    found = np.concatenate([part.normals for part in listed]) if normals else None
    return Points(xyz.astype(listed[0].xyz.dtype, copy=False), colors, found)


def crop(parts: Iterable[Points], bbox: tuple[float, ...]) -> Iterator[Points]:
    """The points in the box, its faces included."""
    low, high = np.array(bbox[:3]), np.array(bbox[3:])
    for part in parts:
        yield part[((part.xyz >= low) & (part.xyz <= high)).all(axis=1)]


def thin(parts: Iterable[Points], max_points: int, seed: int) -> Iterator[Points]:
    """At most `max_points` of all points, each equally likely, in their order.

    Every point draws a random number and the lowest numbers stay. So the choice depends on the seed and the points'
    order alone, not on how they are divided into parts. Keeps the points chosen so far and one part in memory.
    """
    generator = np.random.default_rng(seed)
    chosen, draws = None, np.empty(0)
    for part in parts:
        draws = np.concatenate([draws, generator.random(len(part))])
        chosen = part if chosen is None else chosen.joined(part)
        if len(draws) > max_points:
            lowest = np.sort(np.argpartition(draws, max_points - 1)[:max_points])
            chosen, draws = chosen[lowest], draws[lowest]
    if chosen is not None:
        yield chosen


def merge_voxels(parts: Iterable[Points], size: float) -> Iterator[Points]:
    """One point per occupied voxel, the cube from i * size to (i + 1) * size along each axis, ordered by voxel.

    It lies at the mean of the voxel's points and has the mean colour and the mean normal's direction. Memory grows with
    the number of occupied voxels (about 0.5 KB for each), not of points: sums that wait are merged whenever there are
    as many as merged ones.
    """
    merged, waiting, precision = None, [], np.float32
    for part in parts:
        precision = np.promote_types(precision, part.xyz.dtype)
        waiting.append(_voxel_sums(_cells(part, size), _rows(part)))
        if merged is None or sum(len(cells) for cells, _ in waiting) >= len(merged[0]):
            merged, waiting = _join(merged, waiting), []
    if merged is None:
        return
    _, sums = _join(merged, waiting)
    means = sums[:, 1:] / sums[:, :1]
    colors = np.rint(means[:, 3:6]).astype(np.uint8)
    yield Points(means[:, :3].astype(precision), colors, _unit(means[:, 6:]) if means.shape[1] > 6 else None)


def _cells(part: Points, size: float) -> np.ndarray:
    """Voxel numbers [M, 3] of points; float64, so that no point is too far off to have one."""
    return np.floor(part.xyz / np.float64(size))


def _rows(part: Points) -> np.ndarray:
    """What is summed up per voxel, [M, 7 or 10]: 1, position, colour and, where there are some, normal."""
    parts = [np.ones((len(part), 1)), part.xyz, part.colors]
    return np.hstack(parts if part.normals is None else [*parts, part.normals])


def _voxel_sums(cells: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different cells in order, and the sum of each one's rows."""
    order = np.lexsort(cells.T)
    cells = cells[order]
    starts = np.flatnonzero(np.append(True, (cells[1:] != cells[:-1]).any(axis=1))[: len(cells)])
    if len(starts) == 0:
        return cells, rows
    return cells[starts], np.add.reduceat(rows[order], starts)


def _join(merged: tuple | None, waiting: list[tuple]) -> tuple[np.ndarray, np.ndarray]:
    """Voxel sums of all lists together."""
    parts = waiting if merged is None else [merged, *waiting]
    return _voxel_sums(np.concatenate([cells for cells, _ in parts]), np.concatenate([rows for _, rows in parts]))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [M, 3] scaled to length 1 as float32; 0 stays 0."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 0, vectors / np.where(length > 0, length, 1), 0).astype(np.float32)
