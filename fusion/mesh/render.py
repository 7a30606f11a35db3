"""Faces seen by a camera: which lie in front, what a corner's place in the picture is, and whether it is visible."""

from typing import NamedTuple

import numba
import numpy as np

from datasets.camera import Camera
from fusion.mesh.surfaces import Surface, vertex_normals
from numba_cache import cached_njit

# A corner hides behind a face that is nearer by more than so many of its own pixels' widths, at least.
_TOLERANCE = 2.0
# A view whose own depth is nearer by this share shows something else there, and counts so much: its depth may be wrong.
_BEFORE, _HIDDEN = 0.03, 0.02


class Sight(NamedTuple):
    """How a camera sees the corners of a surface: u, v pixels, z depth, float64 [V] each; visible bool [V]; facing, the
    cosine between normal and line of sight, float64 [V]; trust float64 [V], less than 1 where the view's own depth says
    that something else stands before the corner, which is no part of the surface."""

    u: np.ndarray
    v: np.ndarray
    z: np.ndarray
    visible: np.ndarray
    facing: np.ndarray
    trust: np.ndarray


def front_faces(surface: Surface, camera: Camera, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Depth [H, W] float32 (infinite where there is nothing) and the number of the face in front [H, W] int32 (-1)."""
    width, height = size
    u, v, z = camera.project(surface.vertices)
    inverse, owner = np.zeros((height, width)), np.full((height, width), -1, np.int32)
    _draw(u, v, z, surface.faces, inverse, owner)
    with np.errstate(divide="ignore"):
        return (1 / inverse).astype(np.float32), owner


@cached_njit(error_model="numpy")
def _draw(u, v, z, faces, inverse, owner):
    """Fill inverse depth and owner [H, W] with the nearest faces; pixel centres lie at whole numbers."""
    height, width = owner.shape
    for f in range(len(faces)):
        a, b, c = faces[f]
        if not (z[a] > 0 and z[b] > 0 and z[c] > 0):
            continue
        area = (u[b] - u[a]) * (v[c] - v[a]) - (v[b] - v[a]) * (u[c] - u[a])
        low, high = min(u[a], u[b], u[c]), max(u[a], u[b], u[c])
        top, bottom = min(v[a], v[b], v[c]), max(v[a], v[b], v[c])
        if area == 0 or high < 0 or bottom < 0 or low > width - 1 or top > height - 1:
            continue
        for y in range(int(np.ceil(max(top, 0.0))), int(np.floor(min(bottom, height - 1.0))) + 1):
            for x in range(int(np.ceil(max(low, 0.0))), int(np.floor(min(high, width - 1.0))) + 1):
                of_b = ((x - u[a]) * (v[c] - v[a]) - (y - v[a]) * (u[c] - u[a])) / area
                of_c = ((u[b] - u[a]) * (y - v[a]) - (v[b] - v[a]) * (x - u[a])) / area
                if of_b < 0 or of_c < 0 or of_b + of_c > 1:
                    continue
                near = (1 - of_b - of_c) / z[a] + of_b / z[b] + of_c / z[c]
                if near > inverse[y, x]:
                    inverse[y, x] = near
                    owner[y, x] = f


def unhidden(surface: Surface, camera: Camera, size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """u, v pixels and z depth of a surface's corners, float64 [V] each; which are in the image of this size (width,
    height), and which of these no face hides, whichever way it looks, bool [V]."""
    width, height = size
    depth, _ = front_faces(surface, camera, size)
    u, v, z = camera.project(surface.vertices)
    inside = (z > 0) & (u >= 0) & (v >= 0) & (u <= width - 1) & (v <= height - 1)
    visible = np.zeros(len(z), bool)
    x, y = np.floor(u[inside]).astype(int), np.floor(v[inside]).astype(int)
    right, below = np.minimum(x + 1, width - 1), np.minimum(y + 1, height - 1)
    around = np.stack([depth[y, x], depth[y, right], depth[below, x], depth[below, right]])
    # The farthest face of the four: a corner at the edge of what is in front is seen, one behind it is not. A thin
    # tip may have none of the four.
    pixel = z[inside] / camera.shorter_focal
    drawn = np.isfinite(around)
    farthest = np.where(drawn, around, 0).max(axis=0)
    visible[inside] = (z[inside] <= farthest + _TOLERANCE * pixel) | ~drawn.any(axis=0)
    return u, v, z, inside, visible


def sight(surface: Surface, camera: Camera, seen: np.ndarray) -> Sight:
    """How a camera sees the corners of a surface; `seen` [H, W] is all depth that the view has, right or wrong."""
    u, v, z, inside, visible = unhidden(surface, camera, seen.shape[::-1])
    to_camera = camera.centre - surface.vertices
    length = np.linalg.norm(to_camera, axis=1)
    facing = np.einsum("ij,ij->i", vertex_normals(surface), to_camera) / np.where(length > 0, length, 1)
    trust = np.ones(len(z))
    own = seen[np.rint(v[inside]).astype(int), np.rint(u[inside]).astype(int)]
    trust[inside] = np.where((own > 0) & (own < z[inside] * (1 - _BEFORE)), _HIDDEN, 1)
    return Sight(u, v, z, visible & (facing > 0), facing, trust)


@cached_njit(parallel=True, error_model="numpy")
def sample_colours(image, u, v, colours):
    """Fill colours [N, 3] with bilinear values of image [H, W, 3] at pixels u, v [N]; the border goes on outside."""
    height, width = image.shape[:2]
    for n in numba.prange(len(u)):
        x, y = min(max(u[n], 0.0), width - 1.0), min(max(v[n], 0.0), height - 1.0)
        left, top = min(int(x), width - 2), min(int(y), height - 2)
        right, down = x - left, y - top
        for k in range(3):
            above = image[top, left, k] * (1 - right) + image[top, left + 1, k] * right
            below = image[top + 1, left, k] * (1 - right) + image[top + 1, left + 1, k] * right
            colours[n, k] = above * (1 - down) + below * down


def picture(surface: Surface, colours: np.ndarray, camera: Camera, size: tuple[int, int], shade: bool) -> np.ndarray:
    """RGB uint8 [H, W, 3] of faces with colours uint8 [V, 3] at their corners, on white.

    shade: grey instead, by how the faces are turned to the camera, which shows what colours hide.
    """
    width, height = size
    picture = np.full((height, width, 3), 255, np.uint8)
    if not len(surface.faces):
        return picture
    _, owner = front_faces(surface, camera, size)
    y, x = np.nonzero(owner >= 0)
    corners = surface.faces[owner[y, x]]
    u, v, z = camera.project(surface.vertices)
    weights = _perspective_weights(x, y, u[corners], v[corners], z[corners])
    values = colours.astype(np.float64)
    if shade:
        to_camera = camera.centre - surface.vertices
        to_camera /= np.maximum(np.linalg.norm(to_camera, axis=1, keepdims=True), 1e-30)
        facing = np.einsum("ij,ij->i", vertex_normals(surface), to_camera)
        # What faces away is seen from behind: darker, and blue.
        values = np.where(facing[:, None] >= 0, 40 + 200 * facing[:, None], [40, 60, 140])
    picture[y, x] = np.rint(np.einsum("nk,nkc->nc", weights, values[corners])).clip(0, 255).astype(np.uint8)
    return picture


def _perspective_weights(x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Weights [N, 3] of the corners of faces (u, v, z [N, 3]) at pixels x, y [N]."""
    area = (u[:, 1] - u[:, 0]) * (v[:, 2] - v[:, 0]) - (v[:, 1] - v[:, 0]) * (u[:, 2] - u[:, 0])
    of_b = ((x - u[:, 0]) * (v[:, 2] - v[:, 0]) - (y - v[:, 0]) * (u[:, 2] - u[:, 0])) / area
    of_c = ((u[:, 1] - u[:, 0]) * (y - v[:, 0]) - (v[:, 1] - v[:, 0]) * (x - u[:, 0])) / area
    weights = np.stack([1 - of_b - of_c, of_b, of_c], axis=1) / z
    return weights / weights.sum(axis=1, keepdims=True)
