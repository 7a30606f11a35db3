"""Faces that nobody saw: the back of a sheet of depth, its steep borders, a second sheet behind the first."""

from collections.abc import Callable

import numpy as np

from fusion.mesh.maps import KeptMaps
from fusion.mesh.render import sight
from fusion.mesh.surfaces import Surface, face_normals

# Whoever looks at a face at a steeper angle than this (its cosine; 84 degrees) does not see what it is like.
_LEAST_FACING = 0.1


def without_unseen(surface: Surface, maps: KeptMaps, done: Callable[[], None]) -> Surface:
    """The faces whose front some view sees, a corner of it at least; `done` after every view.

    The signed distance ends at its truncation, and what noise puts behind a surface is a surface, too: a scene of which
    much is far away had faces of twice the area of what is there. The corners must not be hidden behind other faces.
    """
    normals = face_normals(surface)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(float).tiny)
    middles = surface.vertices[surface.faces].mean(axis=1)
    found = np.zeros(len(middles), bool)
    for view in maps.views:
        camera = maps.cameras[view]
        visible = sight(surface, camera, maps.seen_depth(view)).visible
        to_camera = camera.centre - middles
        facing = np.einsum("ij,ij->i", normals, to_camera) / np.linalg.norm(to_camera, axis=1)
        found |= visible[surface.faces].any(axis=1) & (facing >= _LEAST_FACING)
        done()
    return surface.kept(found)
