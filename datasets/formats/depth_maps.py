"""Reading depth maps of other programs: COLMAP's, OpenMVS's, NumPy arrays, PFM, PNG of 16 bits (docs/formats.md)."""

import re
import struct
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from datasets.files import DataError, PathLike, read_bytes, reason
from datasets.formats.arrays import read_npy
from datasets.formats.images import read_depth_png
from datasets.formats.pfm import read_pfm

_COLMAP_HEADER = re.compile(rb"(\d{1,6})&(\d{1,6})&(\d{1,2})&")

# OpenMVS: "DR", what the file holds, one byte of nothing; sizes of the image and of the maps; the range of depths.
_DMAP_HEADER = struct.Struct("<2sBx4I2f")
_DMAP_NUMBERS = 21  # of K, the rotation and the centre, float64
_HAS_DEPTH, _HAS_NORMALS, _HAS_CONFIDENCE, _HAS_VIEWS = 1, 2, 4, 8
_LARGEST_SIDE = 1 << 16


class DepthMap(NamedTuple):
    """A depth map of another program: depth float32 [H, W], as the file has it; confidence [H, W] of the same program
    and the path of the photo that it belongs to, where the file tells them."""

    depth: np.ndarray
    confidence: np.ndarray | None = None
    photo: str = ""


def read_colmap_map(path: PathLike) -> np.ndarray:
    """Read a map of COLMAP's dense workspace (`stereo/depth_maps/*.bin`) as float32 [H, W] or [H, W, C]."""
    content = read_bytes(path)
    header = _COLMAP_HEADER.match(content)
    if header is None:
        raise DataError(f"{path}: is not a map of COLMAP; it does not begin with width&height&channels&")
    width, height, channels = map(int, header.groups())
    found, expected = len(content) - header.end(), 4 * width * height * channels
    if expected == 0 or found != expected:
        raise DataError(f"{path}: holds {found} bytes of data, {width}x{height}x{channels} needs {expected}")
    planes = np.frombuffer(content, "<f4", offset=header.end()).reshape(channels, height, width)
    return np.array(planes[0] if channels == 1 else np.moveaxis(planes, 0, 2), np.float32, order="C")


def read_dmap(path: PathLike) -> DepthMap:
    """Read a depth map of OpenMVS (`depth0000.dmap`, float32 as versions up to 2.3 write it)."""
    content = read_bytes(path)
    try:
        name, kind, *_, width, height, _, _ = _DMAP_HEADER.unpack_from(content)
        if name != b"DR" or not kind & _HAS_DEPTH:
            raise ValueError("it does not begin with DR and a depth map")
        if not (0 < width <= _LARGEST_SIDE and 0 < height <= _LARGEST_SIDE):
            raise ValueError(f"it claims {width}x{height} pixels")
        photo, place = _dmap_photo(content)
        floats = 1 + (3 if kind & _HAS_NORMALS else 0) + bool(kind & _HAS_CONFIDENCE) + bool(kind & _HAS_VIEWS)
        found, expected = len(content) - place, 4 * width * height * floats
        if kind > 15 or found != expected:
            raise ValueError(f"it holds {found} bytes of maps, where {width}x{height} needs {expected}")
    except (struct.error, ValueError) as error:
        raise DataError(
            f"{path}: is damaged or no depth map of OpenMVS ({reason(error)}); versions up to 2.3 are read"
        ) from None

    def floats_from(start: int) -> np.ndarray:
        values = np.frombuffer(content, "<f4", width * height, place + 4 * width * height * start)
        return values.reshape(height, width).astype(np.float32)

    confidence = floats_from(4 if kind & _HAS_NORMALS else 1) if kind & _HAS_CONFIDENCE else None
    return DepthMap(floats_from(0), confidence, photo)


def _dmap_photo(content: bytes) -> tuple[str, int]:
    """The photo's path, and where the maps begin: behind its name, the numbers of views, and the camera."""
    place = _DMAP_HEADER.size
    (length,) = struct.unpack_from("<H", content, place)
    photo = content[place + 2 : place + 2 + length].decode("utf-8", "replace")
    (views,) = struct.unpack_from("<I", content, place + 2 + length)
    return photo, place + 2 + length + 4 + 4 * views + 8 * _DMAP_NUMBERS


def read_npy_map(path: PathLike) -> np.ndarray:
    """Read a map [H, W] from a `.npy` file as float32; axes of length 1, as networks leave them, are dropped."""
    try:
        values = read_npy(read_bytes(path))
        if values.ndim > 2:
            values = np.squeeze(values)
        if values.ndim != 2 or values.size == 0 or max(values.shape) > _LARGEST_SIDE:
            raise ValueError(f"its shape is {values.shape}, not that of a map")
    except (ValueError, OverflowError, EOFError) as error:
        raise DataError(f"{path}: is damaged or no map in a .npy file ({reason(error)!a})") from None
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _one_channel(read: Callable[[PathLike], np.ndarray]) -> Callable[[PathLike], DepthMap]:
    def read_map(path: PathLike) -> DepthMap:
        values = read(path)
        if values.ndim != 2:
            raise DataError(f"{path}: has {values.shape[2]} channels, where a depth map has one")
        return DepthMap(values)

    return read_map


# By the end of a file's name.
_READERS: dict[str, Callable[[PathLike], DepthMap]] = {
    ".bin": _one_channel(read_colmap_map),
    ".dmap": read_dmap,
    ".pfm": _one_channel(read_pfm),
    ".npy": _one_channel(read_npy_map),
    ".png": _one_channel(read_depth_png),
}
DEPTH_SUFFIXES = tuple(_READERS)


def read_depth_map(path: PathLike) -> DepthMap:
    """Read a depth map in the format that the end of its name tells, one of `DEPTH_SUFFIXES`.

    Raises DataError for a file that is missing, damaged, of another kind, or larger than what it claims.
    """
    for suffix, read in _READERS.items():
        if str(path).lower().endswith(suffix):
            return read(path)
    raise DataError(f"{path}: is no depth map that is read here ({', '.join(DEPTH_SUFFIXES)})")
