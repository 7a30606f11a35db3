"""Reading PLY clouds, ASCII or binary in either byte order, block by block (specs: formats)."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np

from datasets.files import DataError, PathLike, atomic_open, reason

_BLOCK = 1 << 18  # vertices in memory at a time, beside the result
_LONGEST_LINE = 4096
_MOST_LINES = 10_000
_ORDERS = {b"ascii": "", b"binary_little_endian": "<", b"binary_big_endian": ">"}
_NAMES_OF_TYPES = {
    "i1": ("char", "int8"),
    "u1": ("uchar", "uint8"),
    "i2": ("short", "int16"),
    "u2": ("ushort", "uint16"),
    "i4": ("int", "int32"),
    "u4": ("uint", "uint32"),
    "f4": ("float", "float32"),
    "f8": ("double", "float64"),
}
_TYPES = {name: kind for kind, names in _NAMES_OF_TYPES.items() for name in names}
_DOUBLES = ("f8", "i4", "u4")  # what float32 would round
_XYZ, _RGB = ("x", "y", "z"), ("red", "green", "blue")


class _Element(NamedTuple):
    """One kind of record: its name, how many, and each property's name and numpy type ("list" for a list)."""

    name: str
    count: int
    properties: dict[str, str]

    def dtype(self, order: str) -> np.dtype:
        """The type of a record of fixed size."""
        if "list" in self.properties.values():
            raise ValueError(f"its element {self.name!r} has a list, which only elements after the vertices may have")
        return np.dtype([(name, order + kind) for name, kind in self.properties.items()])


class _Header(NamedTuple):
    """Byte order ("" for ASCII), the elements before the vertices, and the vertices."""

    order: str
    before: list[_Element]
    vertex: _Element


def read_ply(path: PathLike) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a PLY: points [N, 3], float32 or, where it holds doubles, float64; RGB uint8 [N, 3], None without colours.

    Properties may come in any order and type; others, and other elements, are ignored. Memory: the result and one
    block of vertices. Raises DataError when the file is missing, damaged, truncated, or has no vertices with x, y, z.
    """
    with _open(path) as file:
        header = _read_header(file)
        vertex, names = header.vertex, header.vertex.properties
        blocks = _binary_blocks(file, header) if header.order else _ascii_blocks(file, header)
        doubles = any(names[axis] in _DOUBLES for axis in _XYZ)
        points = np.empty((vertex.count, 3), np.float64 if doubles else np.float32)
        colors = np.empty((vertex.count, 3), np.uint8) if names.keys() >= set(_RGB) else None
        start = 0
        for block in blocks:
            stop = start + len(block)
            with np.errstate(over="ignore", invalid="ignore"):
                for k in range(3):
                    rounded = block[_XYZ[k]].astype(np.float32)  # infinite beyond what can be computed with
                    points[start:stop, k] = np.where(np.isfinite(rounded), block[_XYZ[k]], rounded)
                    if colors is not None:
                        colors[start:stop, k] = block[_RGB[k]].astype(np.uint8)
            start = stop
    return points, colors


def read_ply_count(path: PathLike) -> int:
    """The number of vertices that a PLY's header announces, checked against the file's size; errors as `read_ply`."""
    with _open(path) as file:
        return _read_header(file).vertex.count


@contextmanager
def _open(path: PathLike) -> Iterator[BinaryIO]:
    """The open file; what goes wrong while it is read becomes a DataError that names it."""
    try:
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{path}: is not a readable PLY: {reason(error)}") from None


def _read_header(file: BinaryIO) -> _Header:
    """Read up to the data, and check that the file is long enough for it; raises ValueError otherwise."""
    if file.readline(_LONGEST_LINE).rstrip() != b"ply":
        raise ValueError("it does not start with 'ply'")
    order, elements = None, []
    for _ in range(_MOST_LINES):
        line = file.readline(_LONGEST_LINE)
        words = line.split()
        if words == [b"end_header"]:
            break
        if words[:1] == [b"format"] and len(words) == 3 and words[1] in _ORDERS:
            order = _ORDERS[words[1]]
        elif words[:1] == [b"element"] and len(words) == 3 and words[2].isdigit():
            elements.append(_Element(words[1].decode("latin1"), int(words[2]), {}))
        elif words[:1] == [b"property"] and len(words) >= 3 and elements:
            _add_property(elements[-1], [word.decode("latin1") for word in words[1:]])
        elif words[:1] not in ([b"comment"], [b"obj_info"], []) or not line:
            raise ValueError("its header is damaged")
    else:
        raise ValueError("its header does not end")
    names = [element.name for element in elements]
    if order is None or "vertex" not in names:
        raise ValueError("it has no vertices" if order is not None else "its format is unknown")
    place = names.index("vertex")
    header = _Header(order, elements[:place], elements[place])
    _check_vertices(file, header)
    return header


def _add_property(element: _Element, words: list[str]) -> None:
    """Add `type name` or `list type type name`."""
    kind, name = "list" if words[0] == "list" else _TYPES.get(words[0]), words[-1]
    if kind is None or len(words) != (4 if kind == "list" else 2) or name in element.properties:
        raise ValueError(f"its property {' '.join(words)!r} is unknown or given twice")
    element.properties[name] = kind


def _check_vertices(file: BinaryIO, header: _Header) -> None:
    """Raise ValueError unless the vertices have x, y, z and the file, open behind the header, has room for them."""
    vertex = header.vertex
    dtype = vertex.dtype(header.order)
    if not vertex.properties.keys() >= set(_XYZ):
        raise ValueError("its vertices have no x, y, z")
    found = os.fstat(file.fileno()).st_size - file.tell()
    if header.order:
        needed = sum(e.count * e.dtype(header.order).itemsize for e in (*header.before, vertex) if e.count)
    else:
        needed = vertex.count * 2 * len(dtype) - 1  # a digit and a space for every value
    if found < needed:
        raise ValueError(f"it holds {found} bytes of data, {vertex.count} vertices need {needed}; it is incomplete")


def _binary_blocks(file: BinaryIO, header: _Header) -> Iterator[np.ndarray]:
    """The vertices as records, block by block."""
    for element in header.before:
        if element.count:
            file.seek(element.count * element.dtype(header.order).itemsize, os.SEEK_CUR)
    vertex = header.vertex
    dtype = vertex.dtype(header.order)
    for start in range(0, vertex.count, _BLOCK):
        yield np.frombuffer(file.read(min(_BLOCK, vertex.count - start) * dtype.itemsize), dtype)


def _ascii_blocks(file: BinaryIO, header: _Header) -> Iterator[dict[str, np.ndarray]]:
    """The vertices as records of doubles, block by block."""
    for _ in range(sum(element.count for element in header.before)):
        if not file.readline():
            raise ValueError("it ends before its vertices; it is incomplete")
    vertex = header.vertex
    dtype = np.dtype([(name, "f8") for name in vertex.properties])
    for start in range(0, vertex.count, _BLOCK):
        rows = min(_BLOCK, vertex.count - start)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty block, which is refused below
            block = np.loadtxt(file, dtype, comments=None, max_rows=rows, ndmin=1, encoding="latin1")
        if len(block) != rows:
            raise ValueError(f"it ends after {start + len(block)} of {vertex.count} vertices; it is incomplete")
        yield block


_NORMAL = ("nx", "ny", "nz")


_PLY_HEADER_SIZE = 320


class PlyWriter:
    """Appends coloured points to an open binary file; `finish` writes the header, whose room is kept in front.

    Positions are doubles where those of the first points are, normals are floats.
    """

    def __init__(self, file: BinaryIO, normals: bool = False) -> None:
        self._file = file
        self._normals = normals
        self._position: str | None = None
        self.count = 0
        file.write(b" " * _PLY_HEADER_SIZE)

    def append(self, points: np.ndarray, colors: np.ndarray, normals: np.ndarray | None = None) -> None:
        """Add points float [N, 3] with RGB uint8 colors [N, 3], and normals float32 [N, 3] if the file has some."""
        if self._position is None:
            self._position = "f8" if points.dtype == np.float64 else "f4"
        fields = [("xyz", "<" + self._position, 3), ("normal", "<f4", 3), ("rgb", "u1", 3)]
        vertices = np.empty(len(points), [field for field in fields if self._normals or field[0] != "normal"])
        vertices["xyz"], vertices["rgb"] = points, colors
        if self._normals:
            vertices["normal"] = normals
        self._file.write(vertices.tobytes())
        self.count += len(points)

    def finish(self) -> None:
        """Write the header over its room; a comment line fills what is left of it."""
        kinds = dict.fromkeys(_XYZ, _NAMES_OF_TYPES[self._position or "f4"][0])
        kinds |= dict.fromkeys(_NORMAL if self._normals else (), "float") | dict.fromkeys(_RGB, "uchar")
        properties = [f"property {kind} {name}" for name, kind in kinds.items()]
        start = "ply\nformat binary_little_endian 1.0\ncomment "
        end = f"\nelement vertex {self.count}\n" + "\n".join(properties) + "\nend_header\n"
        padding = "." * (_PLY_HEADER_SIZE - len(start) - len(end))
        self._file.seek(0)
        self._file.write((start + padding + end).encode())


@contextmanager
def ply_writer(path: PathLike, normals: bool = False) -> Iterator[PlyWriter]:
    """Stream a coloured cloud, with normals or without, into a binary little-endian PLY.

    The file appears when the block ends well.
    """
    with atomic_open(path) as file:
        writer = PlyWriter(file, normals)
        yield writer
        writer.finish()


def write_ply(path: PathLike, points: np.ndarray, colors: np.ndarray, normals: np.ndarray | None = None) -> None:
    """Write points [N, 3] with RGB uint8 colors [N, 3], and normals [N, 3] if given, as a binary PLY."""
    with ply_writer(path, normals is not None) as writer:
        writer.append(points, colors, normals)
