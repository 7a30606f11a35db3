"""Faces that nobody saw: the back of a sheet of depth, its steep borders, a second sheet behind the first."""

from collections.abc import Callable

import numpy as np

from fusion.mesh.labels import charts
from fusion.mesh.maps import KeptMaps
from fusion.mesh.render import unhidden
from fusion.mesh.surfaces import Surface, face_neighbours, face_normals
from fusion.normals import slants

# A view sees the front of a face that looks at it by this share, at least, of how its own depth does there (cosines):
# ground ahead does so however slanted it is, what joins two sheets of depth does not. Steeper depth counts as this.
_LEAST_FACING, _STEEPEST = 0.5, 0.02
# Holes of so few faces are noise of their normals.
_PINHOLE = 2


def without_unseen(surface: Surface, maps: KeptMaps, done: Callable[[], None]) -> Surface:
    """The faces whose front some view sees, a corner of it at least; `done` after every view.

    The signed distance ends at its truncation, and what noise puts behind a surface is a surface, too: a scene of which
    much is far away had faces of twice the area of what is there. A corner is seen in an image where no face hides it.
    """
    normals = face_normals(surface)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(float).tiny)
    middles = surface.vertices[surface.faces].mean(axis=1)
    seen = np.zeros(len(middles), bool)
    for view in maps.views:
        camera, depth = maps.cameras[view], maps.seen_depth(view)
        visible = unhidden(surface, camera, depth.shape[::-1])[-1][surface.faces].any(axis=1)
        to_camera = camera.centre - middles[visible]
        facing = np.einsum("ij,ij->i", normals[visible], to_camera) / np.linalg.norm(to_camera, axis=1)
        u, v, _ = map(np.nan_to_num, camera.project(middles[visible]))
        column, row = (np.rint(at).clip(0, side - 1).astype(int) for at, side in ((u, depth.shape[1]), (v, len(depth))))
        slant = np.maximum(slants(depth, camera)[row, column], _STEEPEST)
        seen[visible] |= facing >= _LEAST_FACING * slant
        done()
    return surface.kept(seen | _pinholes(surface.faces, ~seen))


def _pinholes(faces: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The faces among the chosen ones (bool [F]) that lie in groups of few with others all around, bool [F]."""
    neighbours = face_neighbours(faces)
    group = charts(np.where(chosen, 0, -1), neighbours)
    at_border = np.bincount(group, (neighbours < 0).any(axis=1)) > 0
    return chosen & ((np.bincount(group) <= _PINHOLE) & ~at_border)[group]
