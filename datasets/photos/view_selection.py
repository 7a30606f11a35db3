"""Which views a depth map is made from: from the points that photos see.

The score is MVSNet's (Yao et al., ECCV 2018, section 4.1): every point that two views share counts by the angle under
which they see it, most at 5 degrees. Where no points are known, points all over the views' frusta stand in for them.
"""

import numpy as np

from datasets.files import DataError, PathLike
from datasets.photos.depth_ranges import DepthRange, not_hidden
from datasets.photos.posed import PosedPhoto, PosedPhotos, posed_photos

BEST_ANGLE, SIGMA_BELOW, SIGMA_ABOVE = 5.0, 1.0, 10.0  # degrees

_MOST_PROJECTED = 20_000  # points that stand for a cloud of any size
_GRID = (12, 9, 6)  # points that stand in for unknown ones: across, down and deep in each view's frustum

# ---------------------------------------------------------------- view pairs


def pair_scores(scene: PosedPhotos) -> np.ndarray:
    """The score of every pair of photos, [N, N], 0 on the diagonal."""
    count = len(scene.photos)
    centres = np.array([photo.centre for photo in scene.photos])
    scores = np.zeros((count, count))
    for photo in range(count):
        points, others = scene.sights_of(scene.seen_by(photo)).T
        weights = angle_weights(angles_between(scene.points[points], centres[photo], centres[others]))
        scores[photo] = np.bincount(others, weights, count)
    np.fill_diagonal(scores, 0)
    return scores


def angle_weights(angles: np.ndarray) -> np.ndarray:
    """How much points count that two views see under angles in degrees, from 0 to 1."""
    sigma = np.where(angles <= BEST_ANGLE, SIGMA_BELOW, SIGMA_ABOVE)
    return np.exp(-((angles - BEST_ANGLE) ** 2) / (2 * sigma**2))


def angles_between(points: np.ndarray, centre: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Degrees between the rays from points [n, 3] to one camera centre and to others [n, 3]."""
    a, b = centre - points, centres - points
    cosine = (a * b).sum(axis=1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-30)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def best_sources(scores: np.ndarray, most: int) -> list[tuple[int, list[tuple[int, float]]]]:
    """For each view its at most so many best sources with their scores, best first, as `write_pairs` takes them."""
    pairs = []
    for reference, row in enumerate(scores):
        order = np.argsort(-row, kind="stable")[:most].tolist()
        pairs.append((reference, [(source, float(row[source])) for source in order if row[source] > 0]))
    return pairs


# ---------------------------------------------------------------- points without tracks


def has_shared_points(scene: PosedPhotos) -> bool:
    """Whether any point is seen by two photos."""
    return bool(len(scene.tracks)) and int(np.bincount(scene.tracks[:, 0]).max()) > 1


def with_projected_points(scene: PosedPhotos) -> PosedPhotos:
    """The photos with tracks of the points that fall into them, of at most 20,000 spread over all points.

    Points far behind others in the same part of an image are taken to be hidden.
    """
    count = len(scene.points)
    points = scene.points[np.linspace(0, count - 1, min(count, _MOST_PROJECTED)).astype(int)]
    tracks = []
    for k, photo in enumerate(scene.photos):
        depth, inside = photo.project(points)
        seen = np.flatnonzero(inside)
        seen = seen[not_hidden(photo, points[seen], depth[seen])]
        tracks.append(np.stack([seen, np.full(len(seen), k)], axis=1))
    tracks = np.concatenate(tracks)
    return PosedPhotos(scene.photos, points, tracks[np.lexsort(tracks.T[::-1])], scene.ranges)


# ---------------------------------------------------------------- without points


def camera_depth_ranges(photos: list[PosedPhoto], source: PathLike) -> list[DepthRange]:
    """Depth ranges of cameras that look at one object: half to one and a half times the distance to its middle.

    The middle is the point nearest to all optical axes. Raises DataError, which names `source`, when a camera does not
    look towards it.
    """
    axes = np.array([photo.cam_T_world[2, :3] for photo in photos])
    centres = np.array([photo.centre for photo in photos])
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    # Nearly parallel axes have no nearest point; lstsq then picks the one nearest to the origin, which is therefore put
    # among the cameras: it is refused below.
    centres = centres - centres.mean(axis=0)
    middle = np.linalg.lstsq(across.sum(axis=0), (across @ centres[:, :, None]).sum(axis=0)[:, 0], rcond=1e-3)[0]
    ranges = []
    for photo, centre, axis in zip(photos, centres, axes, strict=True):
        depth = float(axis @ (middle - centre))
        if depth < np.linalg.norm(middle - centre) / 2 or depth <= 0:
            raise DataError(f"{source}: {photo.name} looks elsewhere than the others; set --depth_min and --depth_max")
        ranges.append((0.5 * depth, 1.5 * depth))
    return ranges


def with_stand_in_points(photos: list[PosedPhoto], ranges: list[DepthRange], source: PathLike) -> PosedPhotos:
    """The photos with a grid of points in each one's frustum, which is seen wherever it falls into an image.

    Their pair scores stand for overlap and viewing angle.
    """
    points = np.concatenate([_frustum_points(photo, *limits) for photo, limits in zip(photos, ranges, strict=True)])
    tracks = []
    for k, (photo, (low, high)) in enumerate(zip(photos, ranges, strict=True)):
        depth, inside = photo.project(points)
        seen = np.flatnonzero(inside & (depth >= 0.99 * low) & (depth <= 1.01 * high))
        tracks.append(np.stack([seen, np.full(len(seen), k)], axis=1))
    return posed_photos(photos, points, np.concatenate(tracks), source)


def _frustum_points(photo: PosedPhoto, low: float, high: float) -> np.ndarray:
    """World points [n, 3] on a grid between two depths of a view."""
    across, down, deep = _GRID
    width, height = photo.lens.size
    # Middles of the grid's cells, so that none is at the image's border.
    u, v, depth = np.meshgrid(
        (np.arange(across) + 0.5) / across * width,
        (np.arange(down) + 0.5) / down * height,
        np.linspace(low, high, deep),
    )
    rays = np.stack([u.ravel(), v.ravel(), np.ones(u.size)], axis=1) @ np.linalg.inv(photo.lens.K).T
    in_camera = rays * depth.ravel()[:, None]
    return (in_camera - photo.cam_T_world[:3, 3]) @ photo.cam_T_world[:3, :3]
