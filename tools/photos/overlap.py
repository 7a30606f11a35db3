"""Which photos of known poses can show the same things."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy.spatial import cKDTree

from tools.photos.pairs import Pair, all_pairs

# How far things may be, in steps from one camera to the next, and what share of each picture lies in the other at the
# best of these distances. Of 60 photos of a room 502 of 1,770 pairs have so much in common, and 94 % of the matches.
_DISTANCES = np.geomspace(2, 128, 7)
_OVERLAP = 0.35
_GRID = (9, 7)  # pixels of a picture, across and down, that stand for all


class PosedView(Protocol):
    """A picture's size (width, height), camera (fx, fy, cx, cy) and cam_T_world [4, 4]."""

    size: tuple[int, int]
    camera: tuple[float, float, float, float]
    cam_T_world: np.ndarray


def steps(places: np.ndarray) -> np.ndarray:
    """How far each place [N, 3] is from the next one, [N]."""
    return cKDTree(places).query(places, k=2)[0][:, 1]


def overlapping_pairs(views: Sequence[PosedView]) -> list[Pair]:
    """The pairs of views, by number, that can show the same things at some distance; all where they stand in one
    place."""
    pairs = all_pairs(len(views))
    world_T_cam = [np.linalg.inv(view.cam_T_world) for view in views]
    step = float(np.median(steps(np.array([pose[:3, 3] for pose in world_T_cam])))) if len(views) > 1 else 0.0
    if not step > 0:
        return pairs
    shown = np.stack(
        [
            [_shares_inside(views, pose[:3, :3] @ rays * distance + pose[:3, 3:]) for distance in _DISTANCES * step]
            for pose, rays in zip(world_T_cam, map(_rays, views), strict=True)
        ],
        axis=1,
    )  # [distances, views, views]: the share of the first that lies in the second
    overlap = np.minimum(shown, shown.transpose(0, 2, 1)).max(axis=0)
    return [pair for pair in pairs if overlap[pair] > _OVERLAP]


def _rays(view: PosedView) -> np.ndarray:
    """Directions [3, n] of depth 1 of some pixels."""
    fx, fy, cx, cy = view.camera
    columns, rows = np.meshgrid(*(np.linspace(0, side, count) for side, count in zip(view.size, _GRID, strict=True)))
    return np.stack([(columns - cx) / fx, (rows - cy) / fy, np.ones_like(rows)]).reshape(3, -1)


def _shares_inside(views: Sequence[PosedView], world: np.ndarray) -> np.ndarray:
    """The share of points [3, n] that each view [N] shows, were nothing before them."""
    cam_T_world = np.stack([view.cam_T_world[:3] for view in views])
    fx, fy, cx, cy = np.array([view.camera for view in views]).T[..., None]
    width, height = np.array([view.size for view in views]).T[..., None]
    x, y, z = (cam_T_world[:, :, :3] @ world + cam_T_world[:, :, 3:]).transpose(1, 0, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = fx * x / z + cx, fy * y / z + cy
        return np.mean((z > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height), axis=1)
