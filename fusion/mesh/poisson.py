"""Poisson's surface through the oriented points of the kept depth."""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.spatial import cKDTree

from fusion.clouds import Points, merge_voxels
from fusion.mesh.library import poisson_surface
from fusion.mesh.maps import KeptMaps
from fusion.mesh.surfaces import Surface
from fusion.normals import depth_normals

# What is farther than so many voxels from every point is invented, and goes.
_FARTHEST = 3.0
# The octree is so deep at most; its memory grows fourfold with every level, by about so many bytes a leaf.
_DEEPEST, _SHALLOWEST, _BYTES_PER_LEAF = 12, 5, 600
_MARGIN = 1.1  # the cube around the points, as Open3D has it


def poisson_of_maps(maps: KeptMaps, voxel: float, memory: float, closed: bool, done: Callable[[], None]) -> Surface:
    """The surface around the maps' origin; closed: with what is far from all points, too. `done` after every view."""
    points = next(merge_voxels(_oriented(maps, done), voxel))
    known = np.linalg.norm(points.normals, axis=1) > 0
    places, normals = points.xyz[known], points.normals[known]
    extent = float((places.max(axis=0) - places.min(axis=0)).max()) * _MARGIN
    wanted = int(np.ceil(np.log2(max(extent / voxel, 2))))
    allowed = int(np.log2(max(memory * 1e9 / _BYTES_PER_LEAF, 2)) / 2)
    surface = poisson_surface(places, normals, min(max(min(wanted, allowed), _SHALLOWEST), _DEEPEST))
    if closed or not len(surface.faces):
        return surface
    distance, _ = cKDTree(places).query(surface.vertices, distance_upper_bound=_FARTHEST * voxel)
    return surface.kept(np.isfinite(distance)[surface.faces].all(axis=1))


def _oriented(maps: KeptMaps, done: Callable[[], None]) -> Iterator[Points]:
    """The kept points of each view with normals, around the origin."""
    for view in maps.views:
        depth, camera = maps.depth(view), maps.cameras[view]
        kept = depth > 0
        xyz = camera.lift(depth, kept).astype(np.float32)
        yield Points(xyz, maps.image(view)[kept], depth_normals(depth, camera)[kept])
        done()
