"""The interactive cloud: what its viewer (viewer.js) is given."""

import base64
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from datasets.predictions import DepthView
from fusion.clouds import Points, crop, thin

_SEED = 0
# The cloud's middle part in percentiles along each axis; the box reaches further by its extent on every side.
_BODY = (1, 99)
_LARGEST = 32767  # of int16
_PROBES, _NEIGHBOUR = 2000, 4


def viewer_data(points: Points, views: dict[str, DepthView], max_points: int) -> dict[str, Any]:
    """What the viewer draws: points as int16 around a centre and colours as bytes, both base64, and where to look from.

    All lengths are in steps of the int16 positions. "shown" points of "total" are there; "outside" of them were left
    out because they lie far from the others.
    """
    box = _box(points.xyz)
    inside = next(crop([points], box))
    shown = next(thin([inside], max_points, _SEED))
    center = (np.array(box[:3]) + box[3:]) / 2
    step = float(max((np.array(box[3:]) - box[:3]).max() / 2 / _LARGEST, np.finfo(np.float32).tiny))
    positions = np.rint((shown.xyz - center) / step).astype("<i2")
    return {
        "xyz": base64.b64encode(positions.tobytes()).decode(),
        "rgb": base64.b64encode(np.ascontiguousarray(shown.colors).tobytes()).decode(),
        "shown": len(shown),
        "total": len(points),
        "outside": len(points) - len(inside),
        "spacing": _spacing(positions),
        **_looks(inside.xyz, views, center, step),
    }


def _box(xyz: np.ndarray) -> tuple[float, ...]:
    """x0, y0, z0, x1, y1, z1 around the cloud without what lies far off."""
    low, high = np.percentile(xyz, _BODY, axis=0)
    rounding = 8 * float(np.finfo(xyz.dtype).eps)  # points on one plane have a box, too
    reach = max(float((high - low).max()), float(np.abs(high).max()) * rounding, np.finfo(np.float32).tiny)
    low, high = np.maximum(low - reach, xyz.min(axis=0)), np.minimum(high + reach, xyz.max(axis=0))
    return (*low.tolist(), *high.tolist())


def _spacing(positions: np.ndarray) -> float:
    """Median distance of a point to its fourth neighbour: a grid's spacing, whether or not views repeat some points."""
    if len(positions) <= _NEIGHBOUR:
        return 1.0
    probes = positions[:: max(1, len(positions) // _PROBES)]
    distances, _ = cKDTree(positions).query(probes, k=[_NEIGHBOUR + 1])
    return max(1.0, float(np.median(distances)))


def _looks(xyz: np.ndarray, views: dict[str, DepthView], center: np.ndarray, step: float) -> dict[str, Any]:
    """The cameras' places and directions, which way is up, and how far the cloud is from each camera."""
    looks = []
    for name, view in views.items():
        camera = view.camera
        height, width = view.depth.shape
        world_T_cam = np.linalg.inv(camera.cam_T_world)
        axes = world_T_cam[:3, :3] / np.linalg.norm(world_T_cam[:3, :3], axis=0)
        _, _, depths = camera.project(xyz)
        front = depths[depths > 0]
        looks.append(
            {
                "name": name,
                "at": ((camera.centre - center) / step).tolist(),
                "right": axes[:, 0].tolist(),
                "up": (-axes[:, 1]).tolist(),
                "forward": axes[:, 2].tolist(),
                "slope": [width / 2 / abs(camera.K[0, 0]), height / 2 / abs(camera.K[1, 1])],
                "depth": float(np.median(front)) / step if len(front) else 1.0,
            }
        )
    up = np.mean([look["up"] for look in looks], axis=0)
    return {"views": looks, "up": (up / max(np.linalg.norm(up), 1e-9)).tolist()}
