"""Comparing point clouds: thinning, capped nearest distances, accuracy, completeness and F-score.

Points are float [N, 3], finite, in one frame and unit (mm on DTU); those of doubles are compared as doubles, as world
coordinates may be large. A mesh is compared by points on its faces. Neighbourhoods are exact: points are bucketed by
hashed grid cells, and the distance of every candidate is computed, so cells that share a bucket cost time only.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from datasets.files import DataError, PathLike
from datasets.formats.ply import read_ply
from fusion.clouds import Points, crop, merge_voxels
from fusion.options import CloudOptions
from numba_cache import cached_njit
from tools.evaluation.meshes import check_format, surface_points

# Queries at a time: the tree's float64 copies and results of a block stay small beside the cloud itself.
_BLOCK = 1 << 19

# Cells beyond this count as one, so that points far out (1e30, say) do not overflow the cell's integers.
_LAST_CELL = 2.0**40


class FinitePoints(NamedTuple):
    """The points [N, 3] of a file, how many others were not finite, and whether they lie on a mesh's faces."""

    points: np.ndarray
    dropped: int
    on_faces: bool


def read_finite_points(path: PathLike, spacing: float | None = None) -> FinitePoints:
    """The points of a PLY that are neither NaN nor infinite.

    With a `spacing` those of a mesh lie that far apart on its faces. Raises DataError when the file is missing or
    damaged, or no point is left.
    """
    check_format(path)
    points, _ = read_ply(path)
    finite = np.isfinite(points).all(axis=1)
    dropped = len(points) - int(np.count_nonzero(finite))
    if dropped == len(points):
        raise DataError(f"{path}: holds no point" + (f" ({dropped} are not finite)" if dropped else ""))
    surface = None if spacing is None else surface_points(path, points, spacing)
    if surface is not None:
        return FinitePoints(surface, dropped, True)
    return FinitePoints(points[finite] if dropped else points, dropped, False)


# ---------------------------------------------------------------- thinning


def kept_apart(points: np.ndarray, dst: float, seed: int) -> np.ndarray:
    """Whether each point is kept, bool [N]: visited in random order, a kept point removes all others within `dst`.

    No two kept points lie within `dst` of each other, and every removed one lies within `dst` of a kept one. The same
    seed gives the same result. `dst` 0 removes duplicates only. Source: the DTU benchmark's evaluation.
    """
    order = np.random.default_rng(seed).permutation(np.arange(len(points), dtype=np.int32))
    kept = np.zeros(len(points), np.bool_)
    precision = np.float64 if points.dtype == np.float64 else np.float32
    _thin(np.ascontiguousarray(points, precision), float(dst), order, _empty_buckets(len(points)), kept)
    return kept


def _empty_buckets(count: int) -> np.ndarray:
    """First point of each bucket, int32 [power of two, at least `count`]; -1 is none."""
    return np.full(1 << max(4, int(count - 1).bit_length()), -1, np.int32)


@cached_njit(inline="always")
def _cell(value, size):
    """The grid cell of a coordinate."""
    return np.int64(np.floor(min(max(value / size, -_LAST_CELL), _LAST_CELL)))


@cached_njit(inline="always")
def _column_bucket(x, y):
    """The bucket of cell (x, y, 0) before the modulus; z is added, so that cells above each other share cache lines."""
    mixed = (np.uint64(x) * np.uint64(0x9E3779B97F4A7C15)) ^ (np.uint64(y) * np.uint64(0xC2B2AE3D27D4EB4F))
    return np.int64((mixed ^ (mixed >> np.uint64(29))) >> np.uint64(20))


@cached_njit()
def _thin(points, dst, order, buckets, kept):
    """Fill kept [N] in the order given; the kept points of a bucket are chained by `following`."""
    # A little larger, so that rounding cannot put a point at exactly dst into the cell after the next.
    size = dst * (1 + 1e-6) if dst > 0 else 1.0
    mask = len(buckets) - 1
    following = np.empty(len(points), np.int32)
    for index in order:
        if not _has_kept_neighbour(points, index, size, dst, buckets, following):
            kept[index] = True
            x, y = _cell(points[index, 0], size), _cell(points[index, 1], size)
            bucket = (_column_bucket(x, y) + _cell(points[index, 2], size)) & mask
            following[index] = buckets[bucket]
            buckets[bucket] = index


@cached_njit()
def _has_kept_neighbour(points, index, size, dst, buckets, following):
    """Whether a point in the 27 cells around `index` lies within dst of it."""
    mask = len(buckets) - 1
    px, py, pz = np.float64(points[index, 0]), np.float64(points[index, 1]), np.float64(points[index, 2])
    x, y, z = _cell(px, size), _cell(py, size), _cell(pz, size)
    for i in range(x - 1, x + 2):
        for j in range(y - 1, y + 2):
            column = _column_bucket(i, j) + z
            for k in range(-1, 2):
                other = buckets[(column + k) & mask]
                while other >= 0:
                    dx, dy, dz = points[other, 0] - px, points[other, 1] - py, points[other, 2] - pz
                    if dx * dx + dy * dy + dz * dz <= dst * dst:
                        return True
                    other = following[other]
    return False


# ---------------------------------------------------------------- distances


def nearest_distances(points: np.ndarray, targets: np.ndarray, cap: float = np.inf, threads: int = 1) -> np.ndarray:
    """Distance [N] float64 of each point to the nearest of targets [M, 3]; `cap` where none is nearer than that."""
    distances = np.full(len(points), float(cap))
    if len(targets) and len(points):
        # Without balancing, the tree is built in half the time, and duplicates and far outliers do not slow it.
        tree = cKDTree(targets, balanced_tree=False, compact_nodes=False)
        for start in range(0, len(points), _BLOCK):
            block = points[start : start + _BLOCK]
            found, _ = tree.query(block, distance_upper_bound=cap, workers=threads)
            np.minimum(found, cap, out=distances[start : start + len(block)])
    return distances


def summarize(distances: np.ndarray, cap: float = np.inf) -> dict[str, float]:
    """Mean, median and number of the distances below the cap; mean and median are NaN when there is none."""
    counted = distances[distances < cap]
    if not len(counted):
        return {"mean": float("nan"), "median": float("nan"), "count": 0}
    return {"mean": float(counted.mean()), "median": float(np.median(counted)), "count": len(counted)}


def compare_clouds(
    cloud: np.ndarray,
    truth: np.ndarray,
    thresholds: Sequence[float] = (),
    max_dist: float = np.inf,
    threads: int = 1,
) -> dict:
    """Accuracy, completeness and F-scores of a cloud [N, 3] against the truth [M, 3], both with at least one point.

    Accuracy is the distance from the cloud to the truth, completeness from the truth to the cloud: means and medians of
    the distances below `max_dist`, and overall, the mean of both means. For each threshold: precision, the share of the
    cloud nearer to the truth than it; recall, the share of the truth nearer to the cloud; F, their harmonic mean
    (Tanks and Temples, ETH3D). Keys: acc, comp, overall, acc_median, comp_median, n_acc, n_comp, n_cloud, n_truth and
    f_scores, {threshold: {precision, recall, f_score}}.
    """
    if not len(cloud) or not len(truth):
        raise ValueError("an empty cloud cannot be compared")
    cap = max((max_dist, *thresholds))
    to_truth = nearest_distances(cloud, truth, cap, threads)
    to_cloud = nearest_distances(truth, cloud, cap, threads)
    f_scores = {f"{t:g}": f_score(to_truth, to_cloud, t) for t in thresholds}
    counts = {"n_cloud": len(cloud), "n_truth": len(truth)}
    return accuracy_completeness(to_truth, to_cloud, max_dist) | counts | {"f_scores": f_scores}


def accuracy_completeness(to_truth: np.ndarray, to_cloud: np.ndarray, max_dist: float) -> dict[str, float]:
    """acc, comp, overall, acc_median, comp_median, n_acc and n_comp from the distances of either cloud's points."""
    acc, comp = summarize(to_truth, max_dist), summarize(to_cloud, max_dist)
    return {
        "acc": acc["mean"],
        "comp": comp["mean"],
        "overall": (acc["mean"] + comp["mean"]) / 2,
        "acc_median": acc["median"],
        "comp_median": comp["median"],
        "n_acc": acc["count"],
        "n_comp": comp["count"],
    }


def f_score(to_truth: np.ndarray, to_cloud: np.ndarray, threshold: float) -> dict[str, float]:
    """precision, recall and f_score at a threshold, 0 to 1, from the distances of either cloud's points."""
    precision, recall = float((to_truth < threshold).mean()), float((to_cloud < threshold).mean())
    total = precision + recall
    return {"precision": precision, "recall": recall, "f_score": 2 * precision * recall / total if total else 0.0}


def read_cut_points(path: str, options: CloudOptions, spacing: float) -> np.ndarray:
    """The finite points [N, 3] of a PLY, or of its faces `spacing` apart, inside the box and thinned by voxels.

    Tells of what it left out, and of what is too coarse for the spacing. Raises DataError when there is no point.
    """
    points, dropped, on_faces = read_finite_points(path, spacing)
    if dropped:
        print(f"{path}: dropped {dropped} points that are not finite")
    if on_faces:
        print(f"{path}: is a mesh, judged by {len(points)} points {spacing:g} apart on its faces")
    far = np.median(np.abs(points).max(axis=1))
    if np.spacing(far) > spacing:
        print(f"warning: {path}: its coordinates are rounded to {np.spacing(far):g}, as float32 is at {far:g}")
    cloud = Points(points, np.zeros_like(points, np.uint8))
    if options.bbox is not None:
        cloud = next(crop([cloud], options.bbox))
        if not len(cloud):
            raise DataError(f"{path}: has no point inside --bbox {','.join(f'{x:g}' for x in options.bbox)}")
    return cloud.xyz if options.voxel is None else next(merge_voxels([cloud], options.voxel)).xyz
