"""Writing of PLY meshes: vertices with normals and colours, triangles (docs/formats.md)."""

import numpy as np
from plyfile import PlyData, PlyElement

from datasets.files import PathLike, atomic_open


def write_ply_mesh(
    path: PathLike, vertices: np.ndarray, normals: np.ndarray, colors: np.ndarray, faces: np.ndarray
) -> None:
    """Write vertices [V, 3] (float64: doubles), normals [V, 3], RGB uint8 colors [V, 3] and faces [F, 3], binary."""
    place = "<f8" if vertices.dtype == np.float64 else "<f4"
    kinds = [*((name, place) for name in "xyz"), *((f"n{name}", "<f4") for name in "xyz")]
    kinds += [(name, "u1") for name in ("red", "green", "blue")]
    points = np.empty(len(vertices), kinds)
    columns = (column for table in (vertices, normals, colors) for column in table.T)
    for (name, _), values in zip(kinds, columns, strict=True):
        points[name] = values
    triangles = np.empty(len(faces), [("vertex_indices", "<i4", (3,))])
    triangles["vertex_indices"] = faces
    elements = [PlyElement.describe(points, "vertex")]
    elements.append(PlyElement.describe(triangles, "face", len_types={"vertex_indices": "u1"}))
    with atomic_open(path) as file:
        PlyData(elements, byte_order="<").write(file)
