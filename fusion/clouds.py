"""What becomes of fused points on their way into a PLY: cropping, one point per voxel, thinning, normals.

Every fusion hands its points over view by view; they pass through in the order box, voxels, thinning. A box and normals
need memory for one view; `merge_voxels` and `thin` say what they keep.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from datasets.camera import Camera
from datasets.files import PathLike
from datasets.formats.ply import ply_writer
from fusion.options import CloudOptions


@dataclasses.dataclass(frozen=True)
class Points:
    """Some points of a cloud.

    xyz [M, 3] world units, float32, or float64 where that is too coarse (datasets.camera); colors [M, 3] uint8 RGB;
    normals [M, 3] float32 of length 1, or 0 where unknown; views [M] uint8, how many views agree, the point's own among
    them; confidence [M] float32, from 0 to 1. None for a cloud without them.
    """

    xyz: np.ndarray
    colors: np.ndarray
    normals: np.ndarray | None = None
    views: np.ndarray | None = None
    confidence: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.xyz)

    def __getitem__(self, selected: np.ndarray | slice) -> "Points":
        return Points(*(None if values is None else values[selected] for values in self.columns()))

    def joined(self, other: "Points") -> "Points":
        """These points, then the others."""
        return joined_points([self, other])

    def bare(self, normals: bool, agreement: bool) -> "Points":
        """These points with normals, and with views and confidence, only where they are wanted."""
        hidden = {} if normals else {"normals": None}
        hidden |= {} if agreement else {"views": None, "confidence": None}
        return dataclasses.replace(self, **hidden) if hidden else self

    def columns(self) -> tuple[np.ndarray | None, ...]:
        """All that is known of the points, column by column."""
        return tuple(getattr(self, field.name) for field in dataclasses.fields(self))


class ViewPoints(NamedTuple):
    """The points of one view, and what they were made from.

    pix [M]: index y * W + x of each point's pixel; depth [H, W] float32, image [H, W, 3] uint8 and camera of the view.
    others [n]: places, among the views, of those that it was compared with; None: all others.
    """

    points: Points
    pix: np.ndarray
    depth: np.ndarray
    image: np.ndarray
    camera: Camera
    others: np.ndarray | None = None


def agreeing_views(others: np.ndarray) -> np.ndarray:
    """Numbers of views that agree, uint8, from how many other views do; 255 are 255 or more."""
    return np.minimum(others.astype(np.int64) + 1, np.iinfo(np.uint8).max).astype(np.uint8)


def shares(confidence: np.ndarray) -> np.ndarray:
    """Confidences from 0 to 1, float32; what is not a number is 0."""
    return np.clip(np.nan_to_num(confidence), 0, 1).astype(np.float32)


def joined_points(parts: Sequence[Points]) -> Points:
    """The points of one part or more, one after the other."""
    columns = zip(*(part.columns() for part in parts), strict=True)
    return Points(*(None if values[0] is None else np.concatenate(values) for values in columns))


def write_cloud(ply_path: PathLike, parts: Iterable[Points], options: CloudOptions) -> int:
    """Stream the `selected` parts of a cloud into a PLY; returns the number of points written, maybe none.

    The PLY holds doubles where the first part does. The parts need normals, and views and confidence, when the options
    ask for them. For options that need a look at all points first (`CloudOptions.streams`): fusion.finish.
    """
    with ply_writer(ply_path, options.normals, options.agreement) as writer:
        for part in selected(parts, options):
            writer.append(*part.columns())
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
    whole = joined_points(listed)
    return dataclasses.replace(whole, xyz=whole.xyz.astype(listed[0].xyz.dtype, copy=False))


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

    It lies at the mean of the voxel's points and has the mean of all else and the mean normal's direction. Memory grows
    with the number of occupied voxels (about 0.5 KB for each), not of points: sums that wait are merged whenever there
    are as many as merged ones.
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
    yield _means(sums[:, 1:] / sums[:, :1], precision, part)


def _means(means: np.ndarray, precision: np.dtype, like: Points) -> Points:
    """Mean rows of voxels as points with the columns that some other points have."""
    columns = iter(means[:, 6:].T)
    normals = None if like.normals is None else unit_vectors(np.stack([next(columns) for _ in range(3)], axis=1))
    views = None if like.views is None else np.rint(next(columns)).astype(np.uint8)
    confidence = None if like.confidence is None else next(columns).astype(np.float32)
    colors = np.rint(means[:, 3:6]).astype(np.uint8)
    return Points(means[:, :3].astype(precision), colors, normals, views, confidence)


def _cells(part: Points, size: float) -> np.ndarray:
    """Voxel numbers [M, 3] of points; float64, so that no point is too far off to have one."""
    return np.floor(part.xyz / np.float64(size))


def _rows(part: Points) -> np.ndarray:
    """What is summed up per voxel, [M, 7 to 12]: 1, position, colour and, where there are some, the other columns."""
    parts = [np.ones((len(part), 1)), part.xyz, part.colors]
    parts += [values if values.ndim == 2 else values[:, None] for values in part.columns()[2:] if values is not None]
    return np.hstack(parts)


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


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Vectors [M, 3] scaled to length 1 as float32; 0 stays 0."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 0, vectors / np.where(length > 0, length, 1), 0).astype(np.float32)
