"""Points on the surface of a mesh, so that it is judged by its faces and not by their corners."""

import numpy as np

from datasets.files import DataError, PathLike
from datasets.formats.ply_faces import read_ply_triangles

_MOST_SAMPLES = 30_000_000
# Multiples of these, cut to 0..1, fill the unit square evenly at any count (the R2 sequence, Roberts 2018).
_STEPS = np.array([0.7548776662466927, 0.5698402909980532])
_OTHER_MESHES = (".obj", ".stl", ".glb", ".gltf", ".off", ".fbx", ".dae")


def check_format(path: PathLike) -> None:
    """Raise DataError, which says how to convert it, when a file's name is that of a mesh other than PLY."""
    suffix = str(path)[str(path).rfind(".") :].lower()
    if suffix in _OTHER_MESHES:
        raise DataError(
            f"{path}: is no PLY; convert it, for example with MeshLab or by "
            f"python -c \"import trimesh; trimesh.load('a{suffix}', force='mesh').export('a.ply')\""
        )


def surface_points(path: PathLike, vertices: np.ndarray, spacing: float) -> np.ndarray | None:
    """Points float64 [N, 3] on the faces of a PLY with these vertices [V, 3]; None when it has no faces.

    Errors as `read_ply_triangles`, and where the surface needs more points than memory should hold.
    """
    triangles = read_ply_triangles(path)
    if not len(triangles):
        return None
    triangles = triangles[np.isfinite(vertices).all(axis=1)[triangles].all(axis=1)]
    corners = vertices[triangles].astype(np.float64)
    area = float(triangle_areas(corners).sum())
    if not area <= _MOST_SAMPLES * spacing**2:
        raise DataError(
            f"{path}: {area:g} of surface need over {_MOST_SAMPLES} points {spacing:g} apart; judge it with a larger "
            "threshold, or give a cloud"
        )
    points = sampled(corners, spacing)
    if not len(points):
        raise DataError(f"{path}: its faces have no area")
    return points


def triangle_areas(corners: np.ndarray) -> np.ndarray:
    """Areas [F] of triangles with corners [F, 3, 3]."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2


def sampled(corners: np.ndarray, spacing: float) -> np.ndarray:
    """Points [N, 3] spread evenly over triangles [F, 3, 3]: one for each area of spacing x spacing, the same each time.

    Triangle after triangle gets its share of the points by area, and these fill it evenly.
    """
    covered = np.cumsum(triangle_areas(corners))
    if not len(covered) or covered[-1] == 0:
        return np.empty((0, 3))
    count = int(np.ceil(covered[-1] / spacing**2))
    number = np.arange(count)
    owner = np.minimum(np.searchsorted(covered, (number + 0.5) * (covered[-1] / count)), len(covered) - 1)
    weights = (number[:, None] + 0.5) * _STEPS % 1
    beyond = weights.sum(axis=1) > 1  # the other half of the parallelogram
    weights[beyond] = 1 - weights[beyond]
    points = corners[owner, 0]
    for k in range(2):
        points += weights[:, k, None] * (corners[owner, k + 1] - corners[owner, 0])
    return points
