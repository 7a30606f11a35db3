"""Which other views a view is compared with when they are fused: those that see most of the same from a good angle."""

from collections.abc import Sequence

import numpy as np

from datasets.camera import Camera
from datasets.photos.view_selection import angle_weights, angles_between

_ACROSS, _DOWN = 24, 18  # pixels of a view that stand for all of it
_SAME = 0.05  # another view sees the same point where its depth differs by no more than this share


def other_views(depths: Sequence[np.ndarray], cameras: Sequence[Camera], most: int) -> list[np.ndarray]:
    """For each of N views with depths [H, W] its at most so many best other views, int64 [n], in order; 0: all others.

    The score is that of the sources of depth (datasets.photos.view_selection), of points of the view's depth map: those
    that the other view's depth map has, too, count by the angle between the two lines of sight.
    """
    count = len(depths)
    everyone = np.arange(count)
    if most == 0 or most >= count - 1:
        return [np.delete(everyone, reference) for reference in everyone]
    centres = [camera.centre for camera in cameras]
    chosen = []
    for reference, (depth, camera) in enumerate(zip(depths, cameras, strict=True)):
        points, scores = _spread_points(depth, camera), np.zeros(count)
        for other in everyone:
            seen = points[_sees(depths[other], cameras[other], points)]
            scores[other] = angle_weights(angles_between(seen, centres[reference], centres[other])).sum()
        scores[reference] = -1
        chosen.append(np.sort(np.argsort(-scores, kind="stable")[:most]))
    return chosen


def _spread_points(depth: np.ndarray, camera: Camera) -> np.ndarray:
    """World points [n, 3] of a depth map [H, W], spread over it; those without depth are left out."""
    height, width = depth.shape
    picked = np.zeros(depth.shape, bool)
    rows = (np.arange(_DOWN) + 0.5) / _DOWN * height
    columns = (np.arange(_ACROSS) + 0.5) / _ACROSS * width
    picked[np.ix_(rows.astype(int), columns.astype(int))] = True
    return camera.lift(depth, picked & np.isfinite(depth) & (depth > 0))


def _sees(depth: np.ndarray, camera: Camera, points: np.ndarray) -> np.ndarray:
    """Whether a view with this depth map [H, W] has points [n, 3] in it, bool [n]."""
    height, width = depth.shape
    u, v, z = camera.project(points)
    sees = np.zeros(len(points), bool)
    inside = np.flatnonzero((z > 0) & (u >= 0) & (v >= 0) & (u < width) & (v < height))
    found = depth[v[inside].astype(int), u[inside].astype(int)].astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity and NaN are never near
        sees[inside] = np.abs(found - z[inside]) <= _SAME * z[inside]
    return sees
