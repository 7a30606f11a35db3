"""The only place that knows Open3D: the surface of blocks of voxels, Poisson's surface, fewer faces."""

import functools
import importlib.util
import re
import subprocess
import sys
from typing import Any

import numpy as np

from datasets.files import DataError, reason
from fusion.mesh.surfaces import Surface, ordered

BLOCK = 8  # voxels along an edge
_ONLY_ERRORS = 1  # Open3D's verbosity


_REMEDY = "install it: bash scripts/setup.sh --mesh, or pip install -r requirements-mesh.txt"
# What a server without a screen lacks of what it is linked with; names of Debian's and Ubuntu's packages.
_SYSTEM = "apt-get install libusb-1.0-0 libgl1 libegl1 libx11-6"


def check_open3d() -> None:
    """Raise DataError where the library is missing, or one of the system that it needs."""
    if importlib.util.find_spec("open3d") is None:
        raise DataError(f"Open3D is not installed; {_REMEDY}")
    if why := _loading_error():
        raise _unusable(why)


@functools.cache
def _loading_error() -> str:
    """What keeps the library from being loaded, or nothing. Another process tries: here it would bring threads that
    numba, when its own have not started yet, complains about."""
    tried = subprocess.run([sys.executable, "-c", "import open3d"], capture_output=True, text=True)
    return "" if tried.returncode == 0 else tried.stderr.strip().rpartition("\n")[2] or f"status {tried.returncode}"


def import_open3d() -> Any:
    """The library; raises DataError where it is missing."""
    try:
        import open3d  # large, and needed here only
    except (ImportError, OSError) as error:  # OSError: a library of the system is missing
        raise _unusable(f"{type(error).__name__}: {reason(error)}") from None
    open3d.utility.set_verbosity_level(open3d.utility.VerbosityLevel(_ONLY_ERRORS))
    return open3d


def _unusable(why: str) -> DataError:
    """What to do about an installed library that cannot be loaded; `why`: the last line of the error."""
    missing = re.search(r"(\S+\.so[.\d]*): cannot open shared object file", why)
    if missing is None:
        return DataError(f"Open3D cannot be used ({why[:150]}); {_REMEDY}")
    return DataError(f"Open3D needs {missing[1]} of the system, which is not there; on Debian or Ubuntu: {_SYSTEM}")


def zero_surface(cells: np.ndarray, values: np.ndarray, known: np.ndarray, voxel: float) -> Surface:
    """The surface where a field on blocks of voxels is zero; its normals point to where the field is positive.

    cells int32 [N, 3]: block numbers along x, y, z; values float32 and known bool [N, B, B, B], in the order z, y, x of
    voxels at (block * B + index) * voxel. Only cubes of eight known voxels hold surface.
    """
    open3d = import_open3d()
    core = open3d.core
    grid = open3d.t.geometry.VoxelBlockGrid(
        ("tsdf", "weight"), (core.float32, core.float32), ((1,), (1,)), voxel, BLOCK, max(len(cells), 1)
    )
    slots, _ = grid.hashmap().activate(core.Tensor(np.ascontiguousarray(cells, np.int32)))
    slots = slots.numpy()
    # Arrays that share the grid's memory.
    grid.attribute("tsdf").numpy()[slots] = values[..., None]
    grid.attribute("weight").numpy()[slots] = known[..., None]
    try:
        mesh = grid.extract_triangle_mesh(0.5)
    except RuntimeError as error:  # it cannot give colours to no vertices at all
        if "SetVertexColors" not in str(error):
            raise
        return Surface.empty()
    if "positions" not in mesh.vertex or "indices" not in mesh.triangle:
        return Surface.empty()
    vertices, faces = mesh.vertex.positions.numpy(), mesh.triangle.indices.numpy()
    return ordered(Surface(vertices.astype(np.float64), faces.astype(np.int32)))


def poisson_surface(points: np.ndarray, normals: np.ndarray, depth: int) -> Surface:
    """The surface that Poisson reconstruction with an octree of this depth puts through points [N, 3] with normals."""
    open3d = import_open3d()
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(np.asarray(points, np.float64)))
    cloud.normals = open3d.utility.Vector3dVector(np.asarray(normals, np.float64))
    mesh, _ = open3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=depth)
    return _surface(mesh)


def simplified(surface: Surface, faces: int, closed: bool = False) -> Surface:
    """The surface with so many faces at most, by quadric edge collapse.

    By Open3D's way for tensors, which is VTK's and four times as fast as its own; but that one keeps more surfaces
    `closed`. Neither lets other threads run meanwhile.
    """
    open3d = import_open3d()
    if closed:
        mesh = open3d.geometry.TriangleMesh(
            open3d.utility.Vector3dVector(surface.vertices), open3d.utility.Vector3iVector(surface.faces)
        )
        return _surface(mesh.simplify_quadric_decimation(faces))
    mesh = open3d.t.geometry.TriangleMesh(
        open3d.core.Tensor(surface.vertices), open3d.core.Tensor(np.ascontiguousarray(surface.faces, np.int64))
    )
    return _surface(mesh.simplify_quadric_decimation(1 - faces / len(surface.faces)).to_legacy())


def _surface(mesh: Any) -> Surface:
    return Surface(np.asarray(mesh.vertices).astype(np.float64), np.asarray(mesh.triangles).astype(np.int32))
