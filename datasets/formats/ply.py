"""Reading and writing of PLY clouds: ASCII or binary in either byte order, block by block (docs/formats.md).

plyfile makes the headers that are written. It is not used to read: it takes the memory of as many records as the header
claims before it reads one, keeps every list as an object of its own (a hundred bytes for the one byte of an empty list)
and has no way to read a cloud in blocks; so a damaged or hostile file could take any memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from plyfile import PlyData, PlyElement

from datasets.files import PathLike, atomic_open
from datasets.formats.ply_records import XYZ, Element, open_ply, read_header, vertex_blocks

_RGB, NORMAL = ("red", "green", "blue"), ("nx", "ny", "nz")
# Of points that this project fused: how many views agree on each, and how sure the network was of it.
VIEWS, CONFIDENCE = "views", "confidence"

# Names of colours, the commonest first; the last are the constant terms of Gaussian splats' spherical harmonics.
_SPLAT = ("f_dc_0", "f_dc_1", "f_dc_2")
_COLOR_NAMES = (
    _RGB,
    ("r", "g", "b"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
    ("scalar_red", "scalar_green", "scalar_blue"),
    ("scalar_r", "scalar_g", "scalar_b"),
    ("vertex_red", "vertex_green", "vertex_blue"),
    _SPLAT,
)
_DOUBLES = ("f8", "i4", "u4")  # what float32 would round
_OF_16_BITS = 257  # to 8: 65535 becomes 255
_SPLAT_SCALE = 0.28209479177387814  # of the constant spherical harmonic


def read_ply(path: PathLike) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a PLY: points [N, 3], float32 or, where it holds doubles, float64; RGB uint8 [N, 3], None without colours.

    Properties may come in any order, type and case; lists, others, and other elements are passed over. Colours may have
    any of the usual names; floats are from 0 to 1 unless one is larger, 16 bits are cut to 8. Memory: the result and
    one block. Raises DataError when the file is missing, damaged, truncated, or has no vertices with x, y, z.
    """
    with open_ply(path) as file:
        header = read_header(file)
        vertex, names = header.vertex, color_names(header.vertex)
        doubles = any(vertex.scalars[axis] in _DOUBLES for axis in XYZ)
        points = np.empty((vertex.count, 3), np.float64 if doubles else np.float32)
        colors = np.empty((vertex.count, 3), _color_type(vertex, names)) if names else None
        start = 0
        for block in vertex_blocks(file, header):
            stop = start + len(block)
            with np.errstate(over="ignore", invalid="ignore"):
                for k in range(3):
                    rounded = block[XYZ[k]].astype(np.float32)  # infinite beyond what can be computed with
                    points[start:stop, k] = np.where(np.isfinite(rounded), block[XYZ[k]], rounded)
                    if colors is not None:
                        colors[start:stop, k] = block[names[k]].astype(colors.dtype)
            start = stop
    return points, None if colors is None else _as_bytes(colors, names)


def read_ply_count(path: PathLike) -> int:
    """The number of vertices that a PLY's header announces, checked against the file's size; errors as `read_ply`."""
    with open_ply(path) as file:
        return read_header(file).vertex.count


# ---------------------------------------------------------------- colours


def color_names(vertex: Element) -> tuple[str, ...] | None:
    """The names of the vertices' colours; None where they have none."""
    return next((names for names in _COLOR_NAMES if vertex.scalars.keys() >= set(names)), None)


def _color_type(vertex: Element, names: tuple[str, ...]) -> np.dtype:
    """The type in which colours are kept until all are known: bytes where they are bytes."""
    kinds = {vertex.scalars[name] for name in names}
    if kinds <= {"u1", "i1"}:
        return np.dtype(np.uint8)
    return np.dtype(np.float32 if kinds & {"f4", "f8"} else np.int64)


def _as_bytes(colors: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Colours of any type as uint8."""
    if colors.dtype == np.uint8:
        return colors
    if colors.dtype.kind in "iu":
        divisor = _OF_16_BITS if colors.max(initial=0) > 255 else 1
        return np.clip(colors // divisor, 0, 255).astype(np.uint8)
    with np.errstate(invalid="ignore", over="ignore"):
        if names == _SPLAT:
            colors = 0.5 + _SPLAT_SCALE * colors
        if names == _SPLAT or colors[np.isfinite(colors)].max(initial=0) <= 1:
            colors = colors * 255 + 0.5
        return np.clip(np.nan_to_num(colors), 0, 255).astype(np.uint8)


# ---------------------------------------------------------------- writing

_PLY_HEADER_SIZE, _AGREEMENT_HEADER_SIZE = 320, 384


class PlyWriter:
    """Appends coloured points to an open binary file; `finish` writes the header, whose room is kept in front.

    Places are doubles where those of the first points are, normals are floats; with `agreement` every point has its
    number of agreeing views (uchar) and its confidence (float).
    """

    def __init__(self, file: BinaryIO, normals: bool = False, agreement: bool = False) -> None:
        self._file = file
        self._normals, self._agreement = normals, agreement
        self._dtype = self._record(np.float32)
        self._header_size = _AGREEMENT_HEADER_SIZE if agreement else _PLY_HEADER_SIZE
        self.count = 0
        file.write(b" " * self._header_size)

    def _record(self, place: np.dtype | type[np.floating]) -> np.dtype:
        """The type of a vertex whose place has this type."""
        places = [(name, "<f8" if place == np.float64 else "<f4") for name in XYZ]
        directions = [(name, "<f4") for name in NORMAL] if self._normals else []
        agreement = [(VIEWS, "u1"), (CONFIDENCE, "<f4")] if self._agreement else []
        return np.dtype([*places, *directions, *((name, "u1") for name in _RGB), *agreement])

    def append(
        self,
        points: np.ndarray,
        colors: np.ndarray,
        normals: np.ndarray | None = None,
        views: np.ndarray | None = None,
        confidence: np.ndarray | None = None,
    ) -> None:
        """Add points [N, 3] with RGB uint8 colors [N, 3]; normals [N, 3], views [N] and confidence [N] as promised."""
        if self.count == 0:
            self._dtype = self._record(points.dtype)
        vertices = np.empty(len(points), self._dtype)
        columns = [*points.T, *(() if normals is None else normals.T), *colors.T]
        columns += [values for values in (views, confidence) if values is not None]
        for name, values in zip(self._dtype.names, columns, strict=True):
            vertices[name] = values
        self._file.write(vertices.tobytes())
        self.count += len(points)

    def finish(self) -> None:
        """Write the header over its room; a comment line fills what is left of it."""
        # Of the vertices plyfile needs the type and the number only.
        vertices = np.broadcast_to(np.zeros((), self._dtype), (self.count,))
        elements = [PlyElement.describe(vertices, "vertex")]
        bare = len(PlyData(elements, byte_order="<", comments=[""]).header) + 1
        header = PlyData(elements, byte_order="<", comments=["." * (self._header_size - bare)]).header
        self._file.seek(0)
        self._file.write(f"{header}\n".encode())


@contextmanager
def ply_writer(path: PathLike, normals: bool = False, agreement: bool = False) -> Iterator[PlyWriter]:
    """Stream a coloured cloud, with normals and agreement or without, into a binary little-endian PLY.

    The file appears when the block ends well.
    """
    with atomic_open(path) as file:
        writer = PlyWriter(file, normals, agreement)
        yield writer
        writer.finish()


def write_ply(path: PathLike, points: np.ndarray, colors: np.ndarray, normals: np.ndarray | None = None) -> None:
    """Write points [N, 3] with RGB uint8 colors [N, 3], and normals [N, 3] if given, as a binary PLY."""
    with ply_writer(path, normals is not None) as writer:
        writer.append(points, colors, normals)
