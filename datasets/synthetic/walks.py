"""Cameras that are carried through a place, the choice of source views by overlap, and depth ranges as from photos."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from datasets.camera import Camera
from datasets.photos.view_selection import best_sources
from datasets.synthetic import render
from datasets.synthetic.parts import Place
from datasets.synthetic.rig import MAX_SOURCES, looking_at

# video: small steps in any direction with slight turns; ahead: the same towards what is looked at; turn: hardly any
# step, large turns, as one looks about; along: past what is looked at; orbit: around it.
_TRIES = 400
_GRID = (24, 18)  # pixels of the previews by which walks are judged
_BEST_ANGLE, _SIGMA_BELOW, _SIGMA_ABOVE = 5.0, 2.0, 12.0  # degrees between the rays of a pair
_RATIO = (1.6, 10.0)  # least and greatest ratio of far to near in a view, between the percentiles below
_PERCENTILES = (1, 99)
_LEAST_SHARED = 0.12
_HIDDEN = 1.1  # what lies farther than so many times the depth seen there is hidden


class WalkError(ValueError):
    """No walk through the place shows enough of it."""


def random_walk(rng: np.random.Generator, place: Place, width: int, height: int, views: int, kind: str) -> list[Camera]:
    """`views` cameras carried through a place, of images of width x height.

    Raises WalkError when none of many tries keeps away from things and shows enough of them.
    """
    for attempt in range(_TRIES):
        calm = 0.995**attempt  # longer walks fit rarely
        cameras = _walk(rng, place, width, height, views, kind, calm)
        previews = [preview(place.solids, camera, width, height, place.limit) for camera in cameras]
        if _is_good(place, previews) and _overlap(cameras, previews, width, height):
            return cameras
    raise WalkError(f"no {kind} walk fits")


def _walk(
    rng: np.random.Generator, place: Place, width: int, height: int, views: int, kind: str, calm: float
) -> list[Camera]:
    """Any walk of a kind."""
    focal = rng.uniform(0.72, 1.15) * max(width, height)
    middle = [(width - 1) / 2, (height - 1) / 2] + rng.uniform(-0.02, 0.02, 2) * max(width, height)
    K = np.array([[focal, 0, middle[0]], [0, focal * rng.uniform(0.995, 1.005), middle[1]], [0, 0, 1]])
    start = np.array(
        [rng.uniform(-1, 1) * place.half[0], -rng.uniform(*place.eyes), rng.uniform(-1, 1) * place.half[1]]
    )
    target = place.targets[rng.integers(len(place.targets))] + rng.normal(0, 0.05 * np.linalg.norm(place.half), 3)
    away = np.linalg.norm(target - start)
    forward = (target - start) / away
    right = np.cross([0, 1.0, 0], forward)
    right /= np.linalg.norm(right) + 1e-9
    # Steps in parts of the distance to what is looked at; turns in degrees, of the whole camera, from view to view.
    low, high, turn = {
        "video": (0.03, 0.22, 12.0),
        "ahead": (0.04, 0.16, 6.0),
        "turn": (0.04, 0.16, 16.0),
        "along": (0.07, 0.28, 10.0),
        "orbit": (0.07, 0.3, 3.0),
    }[kind]
    step = calm * away * np.exp(rng.uniform(np.log(low), np.log(high)))
    direction = {"ahead": forward, "along": right, "orbit": right}.get(kind, rng.normal(size=3) * [1, 0.35, 1])
    direction = direction / np.linalg.norm(direction) + rng.normal(0, 0.15, 3) * [1, 0.5, 1]
    yaw, pitch = calm * np.radians(rng.normal(0, turn)), calm * np.radians(rng.normal(0, turn / 4))
    shake = np.radians(rng.uniform(0.2, 2.5))
    cameras = []
    for k in range(views):
        along = k - (views - 1) / 2
        position = start + along * step * direction
        if kind == "orbit":  # on a circle about the target
            angle = along * step / away
            turned = np.cos(angle) * forward - np.sin(angle) * right
            position = target - away * turned
            position[1] = start[1]
        position = position + rng.normal(0, 0.15 * step, 3) * [1, 0.5, 1]
        tracked = target if kind in ("orbit", "along") else position + away * forward
        looked = tracked + away * (np.tan(along * yaw) * right + np.tan(along * pitch) * np.array([0, 1.0, 0]))
        looked = looked + away * shake * rng.normal(size=3)
        cameras.append(looking_at(K, position, looked, roll=rng.normal(0, 0.04)))
    return cameras


def preview(solids: np.ndarray, camera: Camera, width: int, height: int, limit: float) -> np.ndarray:
    """Depth [18, 24] in mm on a grid of pixels, inf beyond `limit`."""
    xs, ys = _grid(width, height)
    depth = render.render_depth(solids, camera.world_T_img(), xs, ys)
    return np.where(depth < limit, depth, np.inf)


def _grid(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    return (np.arange(_GRID[0]) + 0.5) * width / _GRID[0] - 0.5, (np.arange(_GRID[1]) + 0.5) * height / _GRID[1] - 0.5


def _is_good(place: Place, previews: Sequence[np.ndarray]) -> bool:
    """Whether no view is too near to a thing, shows too much sky, or too little or too much depth."""
    for depth in previews:
        known = depth[np.isfinite(depth)]
        if len(known) < 0.55 * depth.size or known.min() < place.nearest:
            return False
        near, far = np.percentile(known, _PERCENTILES)
        if not _RATIO[0] < far / near < _RATIO[1]:
            return False
    return True


def _overlap(cameras: Sequence[Camera], previews: Sequence[np.ndarray], width: int, height: int) -> bool:
    """Whether at least two others see enough of what each view sees."""
    shares = _shared(cameras, previews, width, height)[1]
    return bool((np.sort(shares, axis=1)[:, -2] > _LEAST_SHARED).all())


def _shared(
    cameras: Sequence[Camera], previews: Sequence[np.ndarray], width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """(scores, shares) [V, V]: MVSNet's score of each pair, by the angles under which it sees what both views see, and
    the share of the first one's surface that the second one sees."""
    centres = [np.linalg.inv(camera.cam_T_world)[:3, 3] for camera in cameras]
    scores, shares = np.zeros((2, len(cameras), len(cameras)))
    for i, camera in enumerate(cameras):
        points = _points(camera, previews[i], width, height)
        for j, other in enumerate(cameras):
            if i == j or not len(points):
                continue
            seen = points[_sees(other, previews[j], points, width, height)]
            a, b = centres[i] - seen, centres[j] - seen
            cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
            excess = np.degrees(np.arccos(np.clip(cosine, -1, 1))) - _BEST_ANGLE
            sigma = np.where(excess < 0, _SIGMA_BELOW, _SIGMA_ABOVE)
            scores[i, j] = np.exp(-0.5 * (excess / sigma) ** 2).sum() + 1e-3 * len(seen)
            shares[i, j] = len(seen) / len(points)
    return scores, shares


def _points(camera: Camera, depth: np.ndarray, width: int, height: int) -> np.ndarray:
    """The world points [n, 3] of a preview."""
    columns, rows = np.meshgrid(*_grid(width, height))
    known = np.isfinite(depth)
    z = depth[known]
    pixels = np.stack([columns[known] * z, rows[known] * z, z, np.ones_like(z)])
    return (np.linalg.inv(camera.projection()) @ pixels)[:3].T


def _project(camera: Camera, points: np.ndarray, width: int, height: int) -> tuple[np.ndarray, ...]:
    """(columns, rows, depths, inside) [n] of world points in an image."""
    projected = points @ camera.projection()[:3, :3].T + camera.projection()[:3, 3]
    z = projected[:, 2]
    u, v = (projected[:, :2] / np.where(z > 0, z, 1.0)[:, None]).T
    inside = (z > 0) & (u >= 0) & (u <= width - 1) & (v >= 0) & (v <= height - 1)
    return u, v, z, inside


def _sees(camera: Camera, depth: np.ndarray, points: np.ndarray, width: int, height: int) -> np.ndarray:
    """Which of the points [n] lie inside the image and not far behind what it sees, by its coarse preview."""
    u, v, z, inside = _project(camera, points, width, height)
    column = np.clip(u / width * depth.shape[1], 0, depth.shape[1] - 1).astype(int)
    row = np.clip(v / height * depth.shape[0], 0, depth.shape[0] - 1).astype(int)
    return inside & (z < _HIDDEN * depth[row, column])


def pairs_by_overlap(
    cameras: Sequence[Camera], depths: np.ndarray, width: int, height: int
) -> list[tuple[int, list[tuple[int, float]]]]:
    """For each view its sources with scores, best first; depths [V, H, W], 0 where unknown."""
    rows, columns = (np.rint(axis).astype(int) for axis in reversed(_grid(width, height)))
    previews = [np.where(depth > 0, depth, np.inf)[rows][:, columns] for depth in depths]
    return best_sources(_shared(cameras, previews, width, height)[0], MAX_SOURCES)


def with_seen_ranges(rng: np.random.Generator, cameras: Sequence[Camera], depths: np.ndarray) -> list[Camera]:
    """The cameras with a depth line of 192 values each, as reconstruction from photos gives it: between percentiles of
    the depth (float [V, H, W], 0 where unknown) that the view and its neighbours see in its image, with a margin."""
    height, width = depths.shape[1:]
    sparse = np.where(depths > 0, depths, np.inf)
    rows, columns = (np.rint(axis).astype(int) for axis in reversed(_grid(width, height)))
    clouds = [
        _points(camera, depth[rows][:, columns], width, height) for camera, depth in zip(cameras, sparse, strict=True)
    ]
    result = []
    for k, camera in enumerate(cameras):
        seen = np.percentile(depths[k][depths[k] > 0], _PERCENTILES)
        others = np.concatenate([cloud for j, cloud in enumerate(clouds) if j != k])
        _, _, z, inside = _project(camera, others, width, height)
        span = np.percentile(z[inside], (2, 98)) if inside.sum() > 20 else seen
        near = min(seen[0], max(span[0], 0.5 * seen[0])) * rng.uniform(0.8, 0.98)
        far = max(seen[1], min(span[1], 1.5 * seen[1])) * rng.uniform(1.02, 1.3)
        line = (float(np.float32(near)), float(np.float32((far - near) / 191)))
        result.append(dataclasses.replace(camera, depth_line=line))
    return result
