"""The surface in a page: a mesh's triangles, few bytes each."""

import base64
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.files import DataError
from datasets.formats.ply import read_ply
from datasets.formats.ply_faces import read_ply_triangles
from tools.reports.frame import Frame

_MORTON_BITS = 10
_SEVEN = 7  # bits of a number in a byte, whose eighth says that more follow


class Mesh(NamedTuple):
    """Vertices [N, 3] in world units, RGB uint8 colors [N, 3] (None without), faces [M, 3] of numbers of vertices."""

    vertices: np.ndarray
    colors: np.ndarray | None
    faces: np.ndarray


def read_mesh(path: Path) -> Mesh:
    """Read a PLY; raises DataError where it is damaged, or a vertex is not finite."""
    vertices, colors = read_ply(path)
    if not np.isfinite(vertices).all():
        raise DataError(f"{path}: a vertex has a coordinate that is not finite")
    return Mesh(vertices, colors, read_ply_triangles(path))


def mesh_data(mesh: Mesh, frame: Frame) -> tuple[dict[str, Any], np.ndarray]:
    """What the viewer draws, and which of the mesh's vertices that are, in its order.

    Positions and colours are as those of points. Faces are the differences of each corner's number to the next number
    not used yet, seven bits a byte, lowest first; faces that lie beyond the frame are left out.
    """
    inside = frame.holds(mesh.vertices)
    faces = mesh.faces[inside[mesh.faces].all(axis=1)]
    vertices, faces = _ordered(mesh.vertices, faces, frame)
    colors = np.full((len(vertices), 3), 128, np.uint8) if mesh.colors is None else mesh.colors[vertices]
    data = {
        "xyz": encoded(frame.steps(mesh.vertices[vertices])),
        "rgb": encoded(colors),
        "faces": encoded(packed_corners(faces)),
        "count": len(vertices),
        "face_count": len(faces),
    }
    return data, vertices


def encoded(values: np.ndarray) -> str:
    """The bytes of an array as base64."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def packed_corners(faces: np.ndarray) -> np.ndarray:
    """Faces [M, 3], whose vertices are numbered in the order of their first use, as bytes."""
    corners = faces.reshape(-1).astype(np.int64)
    if len(corners) == 0:
        return np.empty(0, np.uint8)
    seen = np.maximum.accumulate(corners) + 1
    codes = np.append(0, seen[:-1]) - corners
    lengths = np.ones(len(codes), np.int64)
    for k in (1, 2, 3, 4):
        lengths += codes >= 1 << _SEVEN * k
    ends = np.cumsum(lengths)
    packed = np.empty(ends[-1], np.uint8)
    for k in range(lengths.max()):
        longer = np.flatnonzero(lengths > k)
        more = (lengths[longer] > k + 1).astype(np.int64) << _SEVEN
        packed[ends[longer] - lengths[longer] + k] = ((codes[longer] >> _SEVEN * k) & 127) | more
    return packed


def _ordered(vertices: np.ndarray, faces: np.ndarray, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """The vertices that faces use, and the faces, so that neighbours follow each other and first uses count up."""
    rank = np.empty(len(vertices), np.int64)
    rank[np.argsort(_morton(frame.steps(vertices)), kind="stable")] = np.arange(len(vertices))
    faces = faces[np.argsort(rank[faces].min(axis=1), kind="stable")]
    used, first, numbers = np.unique(faces.reshape(-1), return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(used), np.int64)
    place[order] = np.arange(len(used))
    return used[order], place[numbers].reshape(-1, 3)


def _morton(steps: np.ndarray) -> np.ndarray:
    """Numbers along a curve that keeps neighbours in space together, of int16 positions [N, 3]."""
    cells = (steps.astype(np.int64) + (1 << 15)) >> (16 - _MORTON_BITS)
    codes = np.zeros(len(cells), np.int64)
    for bit in range(_MORTON_BITS):
        for axis in range(3):
            codes |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return codes
