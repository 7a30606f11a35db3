"""Reading the faces of a PLY, for meshes that are judged by their surface (docs/formats.md)."""

from typing import BinaryIO

import numpy as np

from datasets.files import PathLike
from datasets.formats.ply_records import LONGEST_LINE, TYPES, open_ply, read_header, vertex_blocks

_FACE_ELEMENTS, _FACE_LISTS = ("face", "faces"), ("vertex_indices", "vertex_index")
_Properties = list[tuple[str, str | None, str]]  # name, type of a list's length or None, type of the value(s)


def read_ply_triangles(path: PathLike) -> np.ndarray:
    """The faces of a PLY as triangles, vertex numbers int64 [F, 3]; none when it is a cloud.

    A polygon becomes the fan of triangles around its first corner. Raises DataError when the file is missing, damaged
    or incomplete, when other records stand between its vertices and its faces, or when a face names no vertex of it.
    """
    with open_ply(path) as file:
        header = read_header(file)
        count, properties = _face_element(file)
        if not count:
            return np.empty((0, 3), np.int64)
        for _ in vertex_blocks(file, header):
            pass  # to the end of the vertices
        corners = _binary_faces if header.order else _ascii_faces
        triangles = _fans(*corners(file, count, properties, header.order))
        if triangles.size and not 0 <= triangles.min() <= triangles.max() < header.vertex.count:
            raise ValueError(f"a face names a vertex that is none of its {header.vertex.count}")
    return triangles


def _face_element(file: BinaryIO) -> tuple[int, _Properties]:
    """Number and properties of the faces; 0 when there are none. The header was read, and the file stays behind it."""
    end = file.tell()
    file.seek(0)
    elements: list[tuple[str, int, _Properties]] = []
    for line in file.read(end).decode("latin1").splitlines():
        match line.split():
            case ["element", name, number]:
                elements.append((name, int(number), []))
            case ["property", "list", length, kind, name]:
                elements[-1][2].append((name, TYPES.get(length, ""), TYPES.get(kind, "")))
            case ["property", kind, name]:
                elements[-1][2].append((name, None, TYPES.get(kind, "")))
    names = [name.lower() for name, _, _ in elements]
    after = [element for element in elements[names.index("vertex") + 1 :] if element[1]]
    if not after or not any(name.lower() in _FACE_ELEMENTS for name, _, _ in after):
        return 0, []
    name, count, properties = after[0]
    if name.lower() not in _FACE_ELEMENTS:
        raise ValueError(f"its element {name!r} stands between its vertices and its faces")
    lists = {name: (length, kind) for name, length, kind in properties if length is not None}
    if not any(name in _FACE_LISTS and kind[:1] in ("i", "u") for name, (_, kind) in lists.items()):
        raise ValueError("its faces have no list vertex_indices")
    if any(kind == "" or (length is not None and length[:1] not in ("i", "u")) for _, length, kind in properties):
        raise ValueError("its faces have a property of an unknown type")
    return count, properties


def _ascii_faces(file: BinaryIO, count: int, properties: _Properties, _: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of corners [F] of the faces, and the corners of all of them, one face after the other."""
    counts, corners = [], []
    for _ in range(count):
        words = file.readline(LONGEST_LINE).split()
        start = 0
        for name, length, _ in properties:
            number = 1 if length is None else int(words[start]) if start < len(words) else 0
            values = start if length is None else start + 1
            if number < 0 or values + number > len(words):
                raise ValueError(f"it ends after {len(counts)} of {count} faces; it is incomplete")
            if length is not None and name in _FACE_LISTS:
                counts.append(number)
                corners += map(int, words[values : values + number])
            start = values + number
    return np.array(counts, np.int64), np.array(corners, np.int64)


def _binary_faces(file: BinaryIO, count: int, properties: _Properties, order: str) -> tuple[np.ndarray, np.ndarray]:
    """As `_ascii_faces`. Records whose lists are all as long as the first one's are read at once."""
    data = file.read()
    layout = [(name, length and np.dtype(order + length), np.dtype(order + kind)) for name, length, kind in properties]
    fields, at = [], 0
    for name, length, kind in layout:
        number = 1
        if length is not None:
            number, at = _list_length(data, at, length), at + length.itemsize
            fields.append((f"length of {name}", length))
            if number > len(data):
                raise ValueError("its first face is longer than the file; it is incomplete")
        fields.append((name, kind, (number,)))
        at += number * kind.itemsize
    record = np.dtype(fields)
    if len(data) >= count * record.itemsize:
        faces = np.frombuffer(data, record, count)
        lengths = [(faces[f"length of {name}"], faces[name].shape[1]) for name, length, _ in layout if length]
        if all((found == number).all() for found, number in lengths):
            corners = next(faces[name] for name, length, _ in layout if length and name in _FACE_LISTS)
            return np.full(count, corners.shape[1]), corners.astype(np.int64).ravel()
    return _uneven_faces(data, count, layout)


def _uneven_faces(data: bytes, count: int, layout: list[tuple]) -> tuple[np.ndarray, np.ndarray]:
    """As `_ascii_faces`, of records with lists of any length."""
    counts, corners, at = [], [], 0
    for _ in range(count):
        for name, length, kind in layout:
            number = 1
            if length is not None:
                number, at = _list_length(data, at, length), at + length.itemsize
            if at + number * kind.itemsize > len(data):
                raise ValueError(f"it ends after {len(counts)} of {count} faces; it is incomplete")
            if length is not None and name in _FACE_LISTS:
                counts.append(number)
                corners.append(np.frombuffer(data, kind, number, at))
            at += number * kind.itemsize
    return np.array(counts, np.int64), np.concatenate(corners).astype(np.int64)


def _list_length(data: bytes, at: int, kind: np.dtype) -> int:
    """The length of a list that starts at a place."""
    if at + kind.itemsize > len(data):
        raise ValueError("it ends before its last face; it is incomplete")
    number = int(np.frombuffer(data, kind, 1, at)[0])
    if number < 0:
        raise ValueError("a face has a list of negative length")
    return number


def _fans(counts: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Triangles [F, 3] of polygons with so many corners each; none of those with fewer than three."""
    triangles = np.maximum(counts - 2, 0)
    first = np.repeat(np.cumsum(counts) - counts, triangles)
    step = np.arange(triangles.sum()) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return corners[np.stack([first, first + step + 1, first + step + 2], axis=1)]
