"""How a cloud stands: upright, on z = 0 (datasets.units).

Up is what the photos say: people hold cameras level, so the images' rows are level, and what is above is up. Where the
cloud lies on a large plane that is level to within what photos can be wrong by, that plane is level.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from datasets.camera import Camera
from datasets.units import Units, similarity, similarity_scale, transformed

_ROUNDS = 8  # of weighing the photos by how level they are
_LEVEL = math.radians(10)  # a photo that is turned by more counts little
_UPRIGHT = 0.05  # weight of the image's up direction beside its rows: it decides where these cannot
_SURE = 0.2  # mean upward component of the images' up from which on it says what is above

_GROUND_SAMPLE, _GROUND_TRIES = 4000, 600
_THICKNESS = 0.01  # of the cloud's size, to either side of a ground plane
_LEAST_GROUND = 0.1  # of the points lie in it
_MOST_BELOW = 0.03  # of the points
_TILT, _TILT_OF_ONE_HEADING = math.radians(10), math.radians(40)
_HEADINGS = 0.03  # variance of the images' rows across their main direction: below it all photos look one way
_LOWEST = 0.005  # of the points may lie below zero
_BODY = (1, 99)  # percentiles


def standing(units: Units, cameras: Sequence[Camera], points: np.ndarray) -> Units:
    """What `units` say of a scan, with the rest: upright on z = 0, its middle above the origin unless it has a place on
    the Earth. `points` [N, 3] are the cloud's, evenly spread.

    Cameras and points are in the scan's coordinates; the result's `up` is that of the written cloud.
    """
    T, up = units.world_T_scan, _up(units, cameras, points)
    if up is not None:
        T = similarity(similarity_scale(T), _turn(up, cameras)) if units.place is None else T
    if len(points):
        placed, _ = transformed(T, points)
        low = np.median(placed.astype(np.float64), axis=0)
        low[2] = _ground_height(placed - low) + low[2] if up is not None else low[2]
        if units.place is not None:
            low[:2] = 0
        T = similarity(t=-low) @ T
    return dataclasses.replace(units, world_T_scan=T, up=(0.0, 0.0, 1.0) if up is not None else None)


def _up(units: Units, cameras: Sequence[Camera], points: np.ndarray) -> np.ndarray | None:
    """The direction [3] that is up in the scan; None where nothing tells it."""
    if units.place is not None:
        return units.world_T_scan[2, :3] / np.linalg.norm(units.world_T_scan[2, :3])
    if units.up is not None:
        return np.array(units.up) / np.linalg.norm(units.up)
    up = up_of_cameras(cameras)
    if up is None:
        return None
    most = _TILT_OF_ONE_HEADING if _one_heading(cameras) else _TILT
    ground = ground_plane(points, up, most)
    return up if ground is None else ground[0]


# ---------------------------------------------------------------- from the photos


def up_of_cameras(cameras: Sequence[Camera]) -> np.ndarray | None:
    """The direction [3] against gravity that the cameras of upright photos tell; None without cameras.

    The one that is square to the images' rows, where photos that are turned count less; where the rows leave it open,
    as when all look the same way, the images' up. Which of its ends is above: the images' up says, or where they look
    straight down, that cameras look down.
    """
    if not cameras:
        return None
    right, down, forward = (_axes(cameras, k) for k in range(3))
    weights = np.ones(len(cameras))
    for _ in range(_ROUNDS):
        rows = np.einsum("n,ni,nj->ij", weights, right, right)
        upright = np.einsum("n,ni,nj->ij", weights, down, down)
        _, vectors = np.linalg.eigh(rows + _UPRIGHT * (weights.sum() * np.eye(3) - upright))
        up = vectors[:, 0]
        roll = np.arcsin(np.clip(np.abs(right @ up), 0, 1))
        weights = 1 / (1 + (roll / _LEVEL) ** 2)
    above = -float((weights @ (down @ up)) / weights.sum())
    if abs(above) < _SURE:
        above = -float((weights @ (forward @ up)) / weights.sum())
    return up if above >= 0 else -up


def _axes(cameras: Sequence[Camera], row: int) -> np.ndarray:
    """An axis of each camera in the world, [N, 3], of length 1."""
    axes = np.array([camera.cam_T_world[row, :3] for camera in cameras])
    return axes / np.linalg.norm(axes, axis=1, keepdims=True)


def _one_heading(cameras: Sequence[Camera]) -> bool:
    """Whether all photos look about the same way, so that their rows do not tell how far they are tilted."""
    right = _axes(cameras, 0)
    return float(np.linalg.eigvalsh(right.T @ right / len(right))[1]) < _HEADINGS


# ---------------------------------------------------------------- from the points


def ground_plane(points: np.ndarray, up: np.ndarray, most: float) -> tuple[np.ndarray, float] | None:
    """The normal [3] and the height along it of a large level plane that the cloud lies on; None where there is none.

    Level: turned from `up` by at most `most` radians. Points [N, 3] are evenly spread; the result is always the same.
    """
    if len(points) < 3:
        return None
    rng = np.random.default_rng(0)
    some = points[rng.permutation(len(points))[:_GROUND_SAMPLE]].astype(np.float64)
    middle = np.median(some, axis=0)
    some = some - middle
    thickness = _THICKNESS * float(np.linalg.norm(np.ptp(np.percentile(some, _BODY, axis=0), axis=0)))
    low = some[some @ up <= np.median(some @ up)]
    best, normal = _LEAST_GROUND * len(some), None
    for _ in range(_GROUND_TRIES):
        corners = low[rng.integers(0, len(low), 3)]
        candidate = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        length = np.linalg.norm(candidate)
        if length == 0 or abs(candidate @ up) < math.cos(most) * length:
            continue
        candidate = candidate * math.copysign(1 / length, candidate @ up)
        height = some @ candidate - corners[0] @ candidate
        inside = np.abs(height) < thickness
        if inside.sum() > best and (height < -2 * thickness).sum() <= _MOST_BELOW * len(some):
            best, normal, chosen = inside.sum(), candidate, inside
    if normal is None:
        return None
    plane = some[chosen]
    centre = plane.mean(axis=0)
    found = np.linalg.svd(plane - centre, full_matrices=False)[2][2]
    found = found * math.copysign(1, found @ up)
    return found, float(found @ (centre + middle))


def _ground_height(placed: np.ndarray) -> float:
    """The height that becomes zero of points [N, 3] around the origin whose z is up: of the ground below the origin,
    else of the lowest points but a few."""
    ground = ground_plane(placed, np.array([0.0, 0, 1]), math.radians(2))
    return float(np.quantile(placed[:, 2], _LOWEST)) if ground is None else ground[1] / ground[0][2]


def _turn(up: np.ndarray, cameras: Sequence[Camera]) -> np.ndarray:
    """The rotation [3, 3] that takes `up` to z, and where the cameras look on average to y."""
    ahead = _axes(cameras, 2).mean(axis=0) if len(cameras) else np.zeros(3)
    ahead = ahead - (ahead @ up) * up
    if np.linalg.norm(ahead) < _SURE:  # all around
        ahead = np.eye(3)[np.argmin(np.abs(up))]
        ahead = ahead - (ahead @ up) * up
    ahead = ahead / np.linalg.norm(ahead)
    return np.stack([np.cross(ahead, up), ahead, up])
