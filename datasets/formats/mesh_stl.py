"""Writing of binary STL meshes, which have neither colours nor shared vertices (docs/formats.md)."""

import numpy as np

from datasets.files import PathLike, write_bytes

_HEADER = 80  # bytes, of any content
_STEPS = 4  # of float32 between two vertices at least: some readers take what is nearer for one
_FACE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def write_stl(path: PathLike, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Write vertices [V, 3], rounded to float32, and faces [F, 3].

    Readers join corners at the same place. So vertices that are at one place after rounding are moved apart, by as
    little as float32 tells: joined, they would make edges of four faces out of a closed mesh.
    """
    corners = _apart(vertices.astype(np.float32))[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    records = np.zeros(len(faces), _FACE)
    records["normal"] = normals / np.where(length > 0, length, 1)
    records["corners"] = corners
    write_bytes(path, bytes(_HEADER), np.uint32(len(faces)).tobytes(), records.tobytes())


def _apart(places: np.ndarray) -> np.ndarray:
    """Places float32 [V, 3] of which no two are the same."""
    if not len(places):
        return places
    step = _STEPS * np.spacing(np.abs(places).max())
    while True:
        order = np.lexsort(places.T)
        same = (np.diff(places[order], axis=0) == 0).all(axis=1)
        if not same.any():
            return places
        places[order[1:][same], 0] += step  # all but the first of each place; those of three and more once more
