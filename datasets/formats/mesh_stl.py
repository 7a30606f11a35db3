"""Writing of binary STL meshes, which have neither colours nor shared vertices (docs/formats.md)."""

import numpy as np

from datasets.files import PathLike, write_bytes

_HEADER = 80  # bytes, of any content
_FACE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def write_stl(path: PathLike, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Write vertices [V, 3], rounded to float32, and faces [F, 3]. Readers join corners at the same place.

    Two corners of a face that are one after rounding make it flat; it stays, for without it the mesh would open.
    """
    corners = vertices.astype(np.float32)[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    records = np.zeros(len(faces), _FACE)
    records["normal"] = normals / np.where(length > 0, length, 1)
    records["corners"] = corners
    write_bytes(path, bytes(_HEADER), np.uint32(len(faces)).tobytes(), records.tobytes())
