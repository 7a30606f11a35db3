"""Reading arrays of numbers from MATLAB files of versions 5 to 7.2 (docs/formats.md; MathWorks, "MAT-File Format").

A file is a header and one element per variable: a type, a length, and data of that length, whole elements again for an
array or a compressed variable. Nothing is read or expanded beyond what the lengths of the enclosing elements allow.

Not scipy.io.loadmat: it takes the memory that a piece of the file claims before it reads it, and a damaged file of 432
bytes ends the process with a segmentation fault, whatever lengths, shapes and classes are checked before (scipy 1.17;
tests/fuzz met it after a few thousand damaged files).
"""

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from datasets.files import DataError, PathLike, read_bytes, reason

_MOST_BYTES = 1 << 30  # of a variable, expanded; DTU's largest masks have a tenth of it
_HEADER_SIZE = 128
_ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}
_VERSION_7_3 = (b"\x00\x02IM", b"\x02\x00MI")
_ARRAY, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
# Classes of arrays; the others are characters, cells, structures, objects, sparse.
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x0800  # flag of an array


class _Element(NamedTuple):
    """A piece of a file: its type and data."""

    kind: int
    data: memoryview


def read_mat(path: PathLike, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The named arrays of numbers in a MATLAB file (of versions 5 to 7.2), each with at least two dimensions."""
    content = read_bytes(path)
    version = content[124:_HEADER_SIZE]
    if version in _VERSION_7_3:
        raise DataError(f"{path}: is a MATLAB 7.3 file; save it with the option -v7 in MATLAB")
    if version not in _ORDERS:
        raise DataError(f"{path}: is not a readable MATLAB file; save it with the option -v7 in MATLAB")
    found = {}
    try:
        for element in _elements(memoryview(content)[_HEADER_SIZE:], _ORDERS[version]):
            name, array = _variable(element, _ORDERS[version], names)
            if name in found:
                raise ValueError(f"it has two variables named {name}")
            if array is not None:
                found[name] = array
    except (ValueError, struct.error, zlib.error) as error:
        raise DataError(f"{path}: is not a readable MATLAB file: {reason(error)}") from None
    for name in names:
        if name not in found:
            raise DataError(f"{path}: has no array of numbers named {name}")
    return found


def _elements(data: memoryview, order: str) -> Iterator[_Element]:
    """The elements of which some data consists; raises ValueError where the last one breaks off."""
    start = 0
    while start < len(data):
        kind, size = struct.unpack_from(f"{order}2I", data, start)
        if kind >> 16:  # a small element: type and length in four bytes, data in the next four
            kind, size, body, step = kind & 0xFFFF, kind >> 16, start + 4, 8
            if size > 4:
                raise ValueError("a short element of it claims more than four bytes")
        else:
            # Elements are padded to eight bytes, only compressed ones are not.
            body, step = start + 8, 8 + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if body + size > len(data):
            raise ValueError(f"it breaks off: {size} bytes are announced where {len(data) - body} are left")
        yield _Element(kind, data[body : body + size])
        start += step


def _variable(element: _Element, order: str, names: Sequence[str]) -> tuple[str, np.ndarray | None]:
    """A variable's name, and its array if it is one of those asked for and consists of real numbers."""
    if element.kind == _COMPRESSED:
        element = _expanded(element.data, order)
    if element.kind != _ARRAY:
        return "", None
    parts = _elements(element.data, order)
    flags, dimensions, name = (next(parts, None) for _ in range(3))
    if name is None or len(flags.data) < 4:
        raise ValueError("a variable of it has no name")
    text = bytes(name.data).decode("latin1")
    flags = struct.unpack_from(f"{order}I", flags.data)[0]
    if text not in names or flags & 0xFF not in _CLASSES or flags & _COMPLEX:
        return "", None
    return text, _array(next(parts, None), np.frombuffer(dimensions.data, f"{order}i4").tolist(), flags & 0xFF, order)


def _expanded(data: memoryview, order: str) -> _Element:
    """The one element inside a compressed one."""
    content = zlib.decompressobj().decompress(data, _MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"a compressed variable of it expands to more than {_MOST_BYTES} bytes")
    element = next(_elements(memoryview(content), order), None)
    if element is None:
        raise ValueError("a compressed variable of it is empty")
    return element


def _array(numbers: _Element | None, shape: list[int], array_class: int, order: str) -> np.ndarray:
    """An array's numbers, which may be stored in a smaller type than its class, column after column."""
    if numbers is None or numbers.kind not in _NUMBERS or len(shape) < 2 or min(shape) < 0:
        raise ValueError("an array of it has no numbers or no shape")
    stored = np.dtype(order + _NUMBERS[numbers.kind])
    if math.prod(shape) * stored.itemsize != len(numbers.data):
        raise ValueError(f"an array of it claims {'x'.join(map(str, shape))}, but holds {len(numbers.data)} bytes")
    with np.errstate(invalid="ignore", over="ignore"):
        return np.frombuffer(numbers.data, stored).astype(_CLASSES[array_class]).reshape(shape, order="F")
