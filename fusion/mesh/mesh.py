"""A mesh, and the files that others open."""

import dataclasses
from pathlib import Path

import numpy as np

from datasets.files import DataError, PathLike
from datasets.formats.mesh_glb import write_glb
from datasets.formats.mesh_obj import write_obj
from datasets.formats.mesh_ply import write_ply_mesh
from datasets.formats.mesh_stl import write_stl
from datasets.units import similarity_scale
from fusion.mesh.settings import FORMATS
from fusion.mesh.surfaces import Surface, vertex_normals
from fusion.mesh.texture import Texture

# float32 may move a vertex by this share of a voxel.
_LARGEST_LOSS = 0.05


@dataclasses.dataclass(frozen=True)
class Mesh:
    """vertices float64 [V, 3] in world units around `origin` [3]; faces int32 [F, 3], counterclockwise from outside;
    colours uint8 [V, 3]; texture, where it was asked for; up [3], the photographers' up; voxel, the edge that it was
    made with; closed, whether it encloses a solid."""

    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray
    texture: Texture | None
    origin: np.ndarray
    up: np.ndarray
    voxel: float
    closed: bool

    @property
    def places(self) -> np.ndarray:
        """The vertices in the world, float64 [V, 3]."""
        return self.vertices + self.origin

    def write(self, path: PathLike) -> None:
        """Write it as .ply, .glb, .obj (with .mtl and .jpg) or .stl, as the path's end says."""
        write_mesh(path, self)

    def moved(self, world_T_scan: np.ndarray) -> "Mesh":
        """The mesh where a similarity [4, 4] takes it."""
        turned, scale = world_T_scan[:3, :3], similarity_scale(world_T_scan)
        return dataclasses.replace(
            self,
            vertices=self.vertices @ turned.T,
            origin=turned @ self.origin + world_T_scan[:3, 3],
            up=turned @ self.up / scale,
            voxel=self.voxel * scale,
        )


def write_mesh(path: PathLike, mesh: Mesh) -> None:
    """Write a mesh in the format that the path's end names: .ply, .glb, .obj (with .mtl and .jpg) or .stl.

    PLY and OBJ hold doubles where float32 is too coarse for the world. STL cannot, and is written around the mesh's own
    origin there. GLB keeps small numbers and where they belong; its y axis is up.
    """
    path = Path(path)
    suffix = path.suffix[1:].lower()
    if suffix not in FORMATS:
        raise DataError(f"{path}: a mesh is written as one of {', '.join(f'.{name}' for name in FORMATS)}")
    places = mesh.places
    fits = np.spacing(np.float32(np.abs(places).max(initial=0))) <= _LARGEST_LOSS * mesh.voxel
    if fits:
        places = places.astype(np.float32)
    texture = mesh.texture or (None, None)
    normals = vertex_normals(Surface(mesh.vertices, mesh.faces))
    if suffix == "ply":
        write_ply_mesh(path, places, normals, mesh.colours, mesh.faces)
    elif suffix == "stl":
        write_stl(path, places if fits else mesh.vertices, mesh.faces)
    elif suffix == "obj":
        write_obj(path, places, mesh.faces, mesh.colours, *texture)
    else:
        write_glb(path, mesh.vertices, normals, mesh.faces, mesh.colours, _gltf_T_mesh(mesh), *texture)


def _gltf_T_mesh(mesh: Mesh) -> np.ndarray:
    """[4, 4]: vertices to a world whose y is up: turned as little as that takes, but z up becomes y up as usual."""
    back = np.array([0.0, -1, 0]) if abs(mesh.up[2]) > 0.5 else np.array([0.0, 0, 1])
    right = np.cross(mesh.up, back)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, mesh.up, np.cross(right, mesh.up)])
    matrix[:3, 3] = matrix[:3, :3] @ mesh.origin
    return matrix
