"""Surface normals of a depth map, from the points of neighbouring pixels."""

import numpy as np

from datasets.camera import Camera

# A side of a pixel belongs to its surface when its depth step is at most this factor times the other side's ...
_STEP_FACTOR = 2.0
# ... or at most this share of the depth: below it a step is noise rather than an edge.
_STEP_NOISE = 1e-3
# A step of more than so many times the width that a pixel covers at its depth is an edge in any case (84 degrees).
_STEEPEST = 10.0


def depth_normals(depth: np.ndarray, camera: Camera) -> np.ndarray:
    """World normals [H, W, 3] float32 of a depth map [H, W], of length 1 and towards the camera; 0 where unknown.

    A normal is the cross product of the surface's tangents along the row and along the column. A tangent joins the
    pixel's two neighbours; at a depth edge, the image's border or beside an unknown depth it takes one side only, the
    one that continues the surface. Unknown: depth that is not positive and finite, or no such neighbour in the row or
    in the column, as at a lone outlier.
    """
    depth = depth.astype(np.float64)
    depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
    K_inv = np.linalg.inv(camera.K)
    rays = _rays(depth.shape, K_inv)
    points = rays * depth[..., None]
    pixel = np.linalg.norm(K_inv, axis=0)  # the width of a pixel at depth 1, along x and y
    normals = np.cross(_tangents(points, depth, 1, pixel[0]), _tangents(points, depth, 0, pixel[1]))
    normals[np.einsum("ijk,ijk->ij", normals, rays) > 0] *= -1
    # Normals map with the inverse transpose of what maps points: (R^-1)^-T = R^T, applied to row vectors.
    normals = normals @ camera.cam_T_world[:3, :3]
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.where(length > 0, normals / np.where(length > 0, length, 1), 0).astype(np.float32)


def slants(depth: np.ndarray, camera: Camera) -> np.ndarray:
    """The cosine of the angle between each pixel's line of sight and its normal, float32 [H, W]; 1 where unknown."""
    rays = _rays(depth.shape, camera.world_T_img()[:3, :3])
    cosines = -np.einsum("ijk,ijk->ij", depth_normals(depth, camera), rays) / np.linalg.norm(rays, axis=-1)
    return np.where(cosines > 0, cosines, 1).astype(np.float32)


def _rays(shape: tuple[int, int], from_pixels: np.ndarray) -> np.ndarray:
    """The directions [H, W, 3] of all pixels (x, y, 1), by the matrix [3, 3] that takes these there."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.stack([x, y, np.ones_like(x)], axis=-1) @ from_pixels.T


def _tangents(points: np.ndarray, depth: np.ndarray, axis: int, pixel: float) -> np.ndarray:
    """Tangents [H, W, 3] along an axis of the image, of any length; NaN where neither side belongs to the surface."""
    before, after = _neighbours(depth, axis)
    steps = np.abs(depth - before), np.abs(depth - after)
    limit = np.fmin(_STEP_FACTOR * np.fmin(*steps) + _STEP_NOISE * depth, _STEEPEST * pixel * depth)
    from_before, to_after = _neighbours(points, axis)
    sides = np.stack([points - from_before, to_after - points])
    belongs = np.stack([step <= limit for step in steps])[..., None]  # false for NaN
    return np.where(belongs.any(axis=0), np.where(belongs, sides, 0).sum(axis=0), np.nan)


def _neighbours(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The values one pixel before and one after along an axis, NaN beyond the border."""
    before, after = np.roll(values, 1, axis), np.roll(values, -1, axis)
    first, last = ((slice(None),) * axis + (index,) for index in (0, -1))
    before[first], after[last] = np.nan, np.nan
    return before, after
