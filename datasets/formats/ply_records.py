"""The header and records of PLY files that are read, block by block, within what the file's size justifies."""

import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np

from datasets.files import DataError, PathLike, reason

_BLOCK = 1 << 18  # vertices in memory at a time, beside the result
_LIST_BLOCK = 1 << 12  # of records with lists, which are read one by one
LONGEST_LINE = 4096
_LONGEST_RECORD = 1 << 24  # bytes of an ASCII record with lists
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
TYPES = {name: kind for kind, names in _NAMES_OF_TYPES.items() for name in names}
_FORMATS = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "f4": "f", "f8": "d"}

XYZ = ("x", "y", "z")


class _List(NamedTuple):
    """A list property: the numpy types of its length and of its items."""

    length: str
    item: str


class Element(NamedTuple):
    """One kind of record: its name, how many, and each property's name and numpy type, or `_List`."""

    name: str
    count: int
    properties: dict[str, str | _List]

    @property
    def has_lists(self) -> bool:
        """Whether records are of different sizes."""
        return any(isinstance(kind, _List) for kind in self.properties.values())

    @property
    def scalars(self) -> dict[str, str]:
        """The properties that are numbers."""
        return {name: kind for name, kind in self.properties.items() if not isinstance(kind, _List)}

    def dtype(self, order: str) -> np.dtype:
        """The type of a record of its numbers."""
        return np.dtype([(name, order + kind) for name, kind in self.scalars.items()])

    @property
    def least_size(self) -> int:
        """Bytes that a binary record has at least."""
        kinds = (kind.length if isinstance(kind, _List) else kind for kind in self.properties.values())
        return sum(np.dtype(kind).itemsize for kind in kinds)


class Header(NamedTuple):
    """Byte order ("" for ASCII), the elements before the vertices, and the vertices."""

    order: str
    before: list[Element]
    vertex: Element


# ---------------------------------------------------------------- the header


@contextmanager
def open_ply(path: PathLike) -> Iterator[BinaryIO]:
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


def read_header(file: BinaryIO) -> Header:
    """Read up to the data, and check that the file is long enough for it; raises ValueError otherwise."""
    if file.readline(LONGEST_LINE).rstrip().lower() != b"ply":
        raise ValueError("it does not start with 'ply'")
    order, elements = None, []
    for _ in range(_MOST_LINES):
        line = file.readline(LONGEST_LINE)
        words = line.split()
        key = words[0].lower() if words else b""
        if key == b"end_header" and len(words) == 1:
            break
        if key == b"format" and len(words) == 3 and words[1].lower() in _ORDERS:
            order = _ORDERS[words[1].lower()]
        elif key == b"element" and len(words) == 3 and words[2].isdigit():
            elements.append(Element(words[1].decode("latin1").lower(), int(words[2]), {}))
        elif key == b"property" and len(words) >= 3 and elements:
            _add_property(elements[-1], [word.decode("latin1").lower() for word in words[1:]])
        elif key not in (b"comment", b"obj_info", b"") or not line:
            raise ValueError("its header is damaged")
    else:
        raise ValueError("its header does not end")
    names = [element.name for element in elements]
    if order is None or "vertex" not in names:
        raise ValueError("it has no vertices" if order is not None else "its format is unknown")
    place = names.index("vertex")
    header = Header(order, elements[:place], elements[place])
    _check_vertices(file, header)
    return header


def _add_property(element: Element, words: list[str]) -> None:
    """Add `type name` or `list type type name`."""
    name, kind = words[-1], TYPES.get(words[0])
    if words[0] == "list" and len(words) == 4 and TYPES.get(words[1], "f")[0] in "iu" and words[2] in TYPES:
        kind = _List(TYPES[words[1]], TYPES[words[2]])
    elif len(words) != 2:
        kind = None
    if kind is None or name in element.properties:
        raise ValueError(f"its property {' '.join(words)!r} is unknown or given twice")
    element.properties[name] = kind


def _check_vertices(file: BinaryIO, header: Header) -> None:
    """Raise ValueError unless the vertices have x, y, z and the file, open behind the header, has room for them."""
    vertex = header.vertex
    if not vertex.scalars.keys() >= set(XYZ):
        raise ValueError("its vertices have no x, y, z")
    found = os.fstat(file.fileno()).st_size - file.tell()
    if header.order:
        needed = sum(element.count * element.least_size for element in (*header.before, vertex))
    else:
        needed = vertex.count * 2 * len(vertex.properties) - 1  # a digit and a space for every value
    if found < needed:
        raise ValueError(f"it holds {found} bytes of data, {vertex.count} vertices need {needed}; it is incomplete")


# ---------------------------------------------------------------- the data


def vertex_blocks(file: BinaryIO, header: Header) -> Iterator[np.ndarray]:
    """The numbers of the vertices as records, block by block."""
    vertex, order = header.vertex, header.order
    for element in header.before:
        if not order:
            _skip_lines(file, element.count)
        elif not element.has_lists:
            file.seek(element.count * element.least_size, os.SEEK_CUR)
        else:
            for _ in _binary_records(file, element, order):
                pass
    if vertex.has_lists:
        records = _binary_records(file, vertex, order) if order else _ascii_records(file, vertex)
        return _gathered(records, vertex.dtype(order))
    return _binary_blocks(file, vertex, order) if order else _ascii_blocks(file, vertex)


def _skip_lines(file: BinaryIO, count: int) -> None:
    for _ in range(count):
        if not file.readline():
            raise ValueError("it ends before its vertices; it is incomplete")


def _binary_blocks(file: BinaryIO, vertex: Element, order: str) -> Iterator[np.ndarray]:
    dtype = vertex.dtype(order)
    for start in range(0, vertex.count, _BLOCK):
        data = file.read(min(_BLOCK, vertex.count - start) * dtype.itemsize)
        if len(data) < min(_BLOCK, vertex.count - start) * dtype.itemsize:  # after lists the header cannot tell
            raise ValueError(f"it ends before the last of its {vertex.count} vertices; it is incomplete")
        yield np.frombuffer(data, dtype)


def _ascii_blocks(file: BinaryIO, vertex: Element) -> Iterator[np.ndarray]:
    dtype = np.dtype([(name, "f8") for name in vertex.properties])
    for start in range(0, vertex.count, _BLOCK):
        rows = min(_BLOCK, vertex.count - start)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty block, which is refused below
            block = np.loadtxt(file, dtype, comments=None, max_rows=rows, ndmin=1, encoding="latin1")
        if len(block) != rows:
            raise ValueError(f"it ends after {start + len(block)} of {vertex.count} vertices; it is incomplete")
        yield block


def _gathered(records: Iterator[tuple[float, ...]], dtype: np.dtype) -> Iterator[np.ndarray]:
    """Records of numbers in blocks."""
    dtype = np.dtype([(name, "f8") for name in dtype.names])
    block = []
    for record in records:
        block.append(record)
        if len(block) == _LIST_BLOCK:
            yield np.array(block, dtype)
            block = []
    if block:
        yield np.array(block, dtype)


def _binary_records(file: BinaryIO, element: Element, order: str) -> Iterator[tuple[float, ...]]:
    """The numbers of records with lists, whose items are passed over."""
    parts = _record_parts(element, order)
    for k in range(element.count):
        numbers: tuple[float, ...] = ()
        for part, item_size in parts:
            data = file.read(part.size)
            if len(data) < part.size:
                raise ValueError(f"it ends after {k} of {element.count} records of {element.name!r}; it is incomplete")
            values = part.unpack(data)
            if item_size:
                *values, length = values
                if length < 0:
                    raise ValueError(f"a list of its element {element.name!r} has the length {length}")
                file.seek(length * item_size, os.SEEK_CUR)
            numbers += tuple(values)
        yield numbers
    if file.tell() > os.fstat(file.fileno()).st_size:
        raise ValueError(f"it ends inside of a list of its element {element.name!r}; it is incomplete")


def _record_parts(element: Element, order: str) -> list[tuple[struct.Struct, int]]:
    """A record as runs of numbers, each up to the length of a list, with the size of that list's items (0: no list)."""
    parts, run = [], ""
    for kind in element.properties.values():
        if isinstance(kind, _List):
            parts.append((struct.Struct(order + run + _FORMATS[kind.length]), np.dtype(kind.item).itemsize))
            run = ""
        else:
            run += _FORMATS[kind]
    return [*parts, (struct.Struct(order + run), 0)]


def _ascii_records(file: BinaryIO, vertex: Element) -> Iterator[tuple[float, ...]]:
    """The numbers of vertices with lists, one a line."""
    for k in range(vertex.count):
        line = file.readline(_LONGEST_RECORD)
        if not line:
            raise ValueError(f"it ends after {k} of {vertex.count} vertices; it is incomplete")
        words, numbers, at = line.split(), [], 0
        for kind in vertex.properties.values():
            if at >= len(words):
                raise ValueError(f"vertex {k} has {len(words)} numbers; it is incomplete")
            if isinstance(kind, _List):
                at += 1 + max(0, int(words[at]))
            else:
                numbers.append(float(words[at]))
                at += 1
        if at != len(words):
            raise ValueError(f"vertex {k} has {len(words)} numbers instead of {at}")
        yield tuple(numbers)
