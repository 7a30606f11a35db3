"""Between which depths a view is searched: from the points that it and its neighbours see.

A view's own points may miss what it shows: with few photos many surfaces have points in the neighbours alone. So their
points that fall into the view count, too.

A range may be wide. Hypotheses even in inverse depth (models.hypotheses, spacing "auto") then cost little more: from
ten times the nearest depth to infinity lies a tenth of the range. So where points lie beyond `UNBOUNDED` times the
nearest depth the range goes to infinity, which is `INFINITY` times the nearest: nothing moves there that could be told
apart.
"""

import numpy as np

from datasets.photos.posed import PosedPhoto, PosedPhotos

# A range spans these percentiles of the points' depths, and this share of their distance more at either end, but at the
# near end no more than this share of the nearest depth.
_PERCENTILES, _MARGIN, _NEAR_MARGIN = (1, 99), 0.2, 0.2
# Up to this percentile the nearest points are wrong where the next one is so many times as far.
_FEW, _GAP = 5, 2.0
_THINNEST = 0.05  # least length of a range, as a share of its depth
_FEWEST_POINTS = 20  # of which percentiles mean something
_FEWEST_SHARED = 3  # points that neighbours have in common
UNBOUNDED, INFINITY = 10.0, 100.0
_CELLS, _BEHIND = 40, 1.2  # across an image; what is so many times as far as the nearest point of a cell is hidden

DepthRange = tuple[float, float]


def depth_ranges(scene: PosedPhotos, neighbours: bool = True) -> list[DepthRange | None]:
    """Each view's depth range, from the points that it sees, and those of its `neighbours` that it should see.

    Where these are few, all points inside its image are taken; None where there are too few of those, too.
    """
    return [depth_range(view_depths(scene, k, neighbours)) for k in range(len(scene.photos))]


def view_depths(scene: PosedPhotos, photo: int, neighbours: bool = True) -> np.ndarray:
    """The depths [n] of the points that tell a photo's range."""
    depth, inside = scene.photos[photo].project(scene.points)
    seen = scene.seen_by(photo)
    counted = np.zeros(len(scene.points), bool)
    counted[seen] = True
    if neighbours:
        shared = np.bincount(scene.sights_of(seen)[:, 1], minlength=len(scene.photos))
        near = shared >= _FEWEST_SHARED
        theirs = np.zeros(len(scene.points), bool)
        theirs[scene.tracks[near[scene.tracks[:, 1]], 0]] = True
        shown = np.flatnonzero((theirs | counted) & inside)
        counted[shown[not_hidden(scene.photos[photo], scene.points[shown], depth[shown])]] = True
    counted &= depth > 0
    return depth[counted] if counted.sum() >= _FEWEST_POINTS else depth[inside]


def depth_range(depths: np.ndarray) -> DepthRange | None:
    """A robust range of positive depths with a margin, always positive; None when there are too few."""
    if len(depths) < _FEWEST_POINTS:
        return None
    low, few, high = np.percentile(depths, (_PERCENTILES[0], _FEW, _PERCENTILES[1]))
    nearest = np.sort(depths[(depths >= low) & (depths <= few)])
    gaps = np.flatnonzero(nearest[1:] > _GAP * nearest[:-1])
    low = nearest[gaps[-1] + 1] if len(gaps) else low
    margin = max(_MARGIN * (high - low), _THINNEST * low / 2)
    near = max(low - margin, (1 - _NEAR_MARGIN) * low)
    far = INFINITY * near if high > UNBOUNDED * low else high + margin
    return float(near), float(far)


def not_hidden(photo: PosedPhoto, points: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Which points [n, 3] inside an image are not far behind others of the same cell, bool [n]; `depth` is theirs."""
    in_camera = points @ photo.cam_T_world[:3, :3].T + photo.cam_T_world[:3, 3]
    pixels = in_camera @ photo.lens.K[:2].T / depth[:, None]
    columns, rows = np.minimum(pixels / max(photo.lens.size) * _CELLS, _CELLS - 1).astype(int).T
    nearest = np.full(_CELLS * _CELLS, np.inf)
    np.minimum.at(nearest, rows * _CELLS + columns, depth)
    return depth <= _BEHIND * nearest[rows * _CELLS + columns]
