"""Triangles: their pieces, normals, edges, and whether they enclose a solid."""

import dataclasses

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


@dataclasses.dataclass(frozen=True)
class Surface:
    """vertices [V, 3] float64 and faces [F, 3] int32, counterclockwise seen from outside."""

    vertices: np.ndarray
    faces: np.ndarray

    @classmethod
    def empty(cls) -> "Surface":
        """No vertex, no face."""
        return cls(np.empty((0, 3)), np.empty((0, 3), np.int32))

    def kept(self, chosen: np.ndarray) -> "Surface":
        """Only the chosen faces (bool [F]), and the vertices that these use."""
        faces = self.faces[chosen]
        used, numbers = np.unique(faces, return_inverse=True)
        return Surface(self.vertices[used], numbers.reshape(-1, 3).astype(np.int32))


def ordered(surface: Surface) -> Surface:
    """The same surface in an order that depends on the places of its vertices alone, not on threads that found them."""
    order = np.lexsort(surface.vertices.T)
    numbers = np.empty(len(order), np.int32)
    numbers[order] = np.arange(len(order), dtype=np.int32)
    faces = numbers[surface.faces]
    turns = (np.arange(3) + faces.argmin(axis=1)[:, None]) % 3  # the lowest number first
    faces = np.take_along_axis(faces, turns, axis=1)
    return Surface(surface.vertices[order], faces[np.lexsort(faces.T[::-1])])


def joined(parts: list[Surface]) -> Surface:
    """All parts as one; vertices at the very same place become one."""
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    vertices = np.concatenate([part.vertices for part in parts])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)])
    places, numbers = np.unique(vertices, axis=0, return_inverse=True)
    return without_flat_faces(Surface(places, numbers.reshape(-1)[faces].astype(np.int32)))


def without_flat_faces(surface: Surface) -> Surface:
    """Without faces that name a vertex twice."""
    a, b, c = surface.faces.T
    return surface.kept((a != b) & (b != c) & (c != a))


def without_islands(surface: Surface, share: float) -> Surface:
    """Without the pieces that have a smaller share of the faces; the largest piece stays in any case."""
    if not len(surface.faces):
        return surface
    a, b, c = surface.faces.T
    count = len(surface.vertices)
    links = coo_array((np.ones(2 * len(a), np.int8), (np.r_[a, b], np.r_[b, c])), shape=(count, count))
    _, labels = connected_components(links, directed=False)
    piece = labels[a]
    sizes = np.bincount(piece)
    return surface.kept((sizes >= share * len(piece))[piece] | (piece == sizes.argmax()))


def face_normals(surface: Surface) -> np.ndarray:
    """Normals [F, 3], as long as twice the face's area."""
    corners = surface.vertices[surface.faces]
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def vertex_normals(surface: Surface) -> np.ndarray:
    """Normals [V, 3] of length 1, the mean of the faces around weighed by area; 0 where there is none."""
    of_faces = face_normals(surface)
    sums = np.zeros_like(surface.vertices)
    for corner in surface.faces.T:
        for axis in range(3):
            sums[:, axis] += np.bincount(corner, of_faces[:, axis], len(sums))
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(length > 0, sums / np.where(length > 0, length, 1), 0)


def face_neighbours(faces: np.ndarray) -> np.ndarray:
    """The face across each edge (0-1, 1-2, 2-0), int32 [F, 3]; -1 at borders and where more than two faces meet."""
    count = len(faces)
    ends = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1).astype(np.int64)
    keys = ends[:, 0] * (int(faces.max(initial=0)) + 1) + ends[:, 1]
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
    starts = np.flatnonzero(first)
    sizes = np.diff(np.append(starts, len(ordered)))
    pairs = starts[sizes == 2]
    across = np.full(3 * count, -1, np.int32)
    across[order[pairs]], across[order[pairs + 1]] = order[pairs + 1] // 3, order[pairs] // 3
    return across.reshape(-1, 3)


def is_closed(surface: Surface) -> bool:
    """Whether every edge is shared by exactly two faces, which run along it in opposite directions."""
    if not len(surface.faces):
        return False
    starts, ends = surface.faces.ravel().astype(np.int64), np.roll(surface.faces, -1, axis=1).ravel().astype(np.int64)
    count = len(surface.vertices)
    forth, back = starts * count + ends, ends * count + starts
    forth.sort()
    back.sort()
    return bool((forth[1:] != forth[:-1]).all() and (forth == back).all())
