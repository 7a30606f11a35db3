"""Reading a PLY cloud block by block with all that this project writes: normals, agreeing views, confidence."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from datasets.files import PathLike
from datasets.formats.ply import CONFIDENCE, NORMAL, VIEWS, color_names, read_ply
from datasets.formats.ply_records import XYZ, Element, open_ply, read_header, vertex_blocks

_GREY = 128  # of points without a colour


@dataclasses.dataclass(frozen=True)
class CloudColumns:
    """What the vertices of a PLY hold beside places: colours, normals, agreeing views, confidence; doubles: whether
    places are more than floats; count: how many there are."""

    count: int
    doubles: bool
    colors: bool
    normals: bool
    views: bool
    confidence: bool


@dataclasses.dataclass(frozen=True)
class CloudBlock:
    """Some vertices: xyz [M, 3] float32 or float64, colors [M, 3] uint8 (grey where there are none), and what there is
    of normals [M, 3] float32, views [M] uint8 and confidence [M] float32, else None."""

    xyz: np.ndarray
    colors: np.ndarray
    normals: np.ndarray | None
    views: np.ndarray | None
    confidence: np.ndarray | None


def read_cloud_columns(path: PathLike) -> CloudColumns:
    """What a PLY's header announces, checked against the file's size; errors as `read_ply`."""
    with open_ply(path) as file:
        return _columns(read_header(file).vertex)


def _columns(vertex: Element) -> CloudColumns:
    kinds = vertex.scalars
    return CloudColumns(
        vertex.count,
        doubles=any(kinds[axis] in ("f8", "i4", "u4") for axis in XYZ),
        colors=color_names(vertex) is not None,
        normals=kinds.keys() >= set(NORMAL),
        # Other programs count in "confidence" and call other things "views": only what this project means is taken.
        views=kinds.get(VIEWS, "")[:1] in ("u", "i"),
        confidence=kinds.get(CONFIDENCE, "")[:1] == "f",
    )


def read_cloud_blocks(path: PathLike) -> Iterator[CloudBlock]:
    """The vertices of a PLY in order; memory holds one block, and all colours where these are no bytes.

    Errors as `read_ply`.
    """
    with open_ply(path) as file:
        header = read_header(file)
        vertex, columns, names = header.vertex, _columns(header.vertex), color_names(header.vertex)
        # What floats mean, 1 or 255, is known when all have been seen.
        in_bytes = names is None or {vertex.scalars[name] for name in names} <= {"u1"}
        colors = None if in_bytes else read_ply(path)[1]
        start = 0
        for block in vertex_blocks(file, header):
            stop = start + len(block)
            found = colors[start:stop] if colors is not None else _byte_colors(block, names)
            yield _block(block, found, columns)
            start = stop


def _byte_colors(block: np.ndarray, names: tuple[str, ...] | None) -> np.ndarray:
    if names is None:
        return np.full((len(block), 3), _GREY, np.uint8)
    return np.stack([block[name] for name in names], axis=1).astype(np.uint8)


def _block(block: np.ndarray, colors: np.ndarray, columns: CloudColumns) -> CloudBlock:
    with np.errstate(over="ignore", invalid="ignore"):
        xyz = np.stack([block[axis] for axis in XYZ], axis=1)
        xyz = xyz.astype(np.float64 if columns.doubles else np.float32)
        normals = np.stack([block[name] for name in NORMAL], axis=1).astype(np.float32) if columns.normals else None
        views = np.clip(block[VIEWS], 0, 255).astype(np.uint8) if columns.views else None
        confidence = block[CONFIDENCE].astype(np.float32) if columns.confidence else None
    return CloudBlock(xyz, colors, normals, views, confidence)
