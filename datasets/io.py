"""Reading and writing of every file format: PFM, camera, pair, image, dmb, PLY, points, MATLAB (specs: formats).

The only place that knows these formats, with `datasets.image_reader`, `datasets.mat_reader`, `datasets.ply_reader` and
`datasets.point_reader`, whose functions are offered here too. Readers raise `DataError` with the file's name, what is
wrong and what to do; they check what a header claims against the file's size before they allocate. Writers are atomic.
"""

import dataclasses
import math
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import cv2
import numpy as np

from datasets.files import DataError, PathLike, atomic_open, read_bytes, read_text, reason, write_bytes
from datasets.image_reader import read_depth_png as read_depth_png
from datasets.image_reader import read_image as read_image
from datasets.image_reader import read_image_size as read_image_size
from datasets.mat_reader import read_mat as read_mat
from datasets.ply_reader import read_ply as read_ply
from datasets.ply_reader import read_ply_count as read_ply_count
from datasets.point_reader import read_points as read_points

# ---------------------------------------------------------------- PFM


def read_pfm(path: PathLike) -> np.ndarray:
    """Read a PFM file as float32 [H, W] (`Pf`) or [H, W, 3] (`PF`), rows from top to bottom."""
    content = read_bytes(path)
    header = re.match(rb"(P[fF])\s+(\d{1,9})\s+(\d{1,9})\s+([-+]?\d*\.?\d*(?:[eE][-+]?\d+)?)[ \t\r]*\n", content)
    if header is None or not re.match(rb"[-+]?0*\.?0*[1-9]", header[4]):
        raise DataError(f"{path}: is not a PFM file (its header is damaged); make it again")
    kind, width, height, scale = header[1], int(header[2]), int(header[3]), header[4]
    channels = 3 if kind == b"PF" else 1
    expected = width * height * channels * 4
    found = len(content) - header.end()
    if width * height == 0 or found != expected:
        raise DataError(f"{path}: holds {found} bytes of data, {width}x{height} needs {expected}; make it again")
    order = "<" if scale.startswith(b"-") else ">"
    data = np.frombuffer(content, order + "f4", offset=header.end())
    data = data.reshape((height, width, 3) if channels == 3 else (height, width))
    return np.ascontiguousarray(data[::-1], dtype=np.float32)


def write_pfm(path: PathLike, data: np.ndarray) -> None:
    """Write float32 [H, W] or [H, W, 3] as a little-endian PFM file."""
    if data.ndim not in (2, 3) or (data.ndim == 3 and data.shape[2] != 3):
        raise ValueError(f"a PFM holds [H, W] or [H, W, 3], not {data.shape}")
    kind = "PF" if data.ndim == 3 else "Pf"
    header = f"{kind}\n{data.shape[1]} {data.shape[0]}\n-1.000000\n".encode()
    write_bytes(path, header, np.ascontiguousarray(data[::-1], dtype="<f4").tobytes())


# ---------------------------------------------------------------- cameras

_CAMERA_WORDS = 31  # two headings, 16 and 9 numbers, and up to 4 of the last line
_DEPTH_LINE = "its last line must be 'depth_min depth_interval [num_depth [depth_max]]'"


@dataclasses.dataclass(frozen=True)
class Camera:
    """A pinhole camera. K [3, 3] maps camera points to pixels (centres at integers); cam_T_world [4, 4]."""

    K: np.ndarray
    cam_T_world: np.ndarray
    depth_line: tuple[float, ...] = ()

    def scaled(self, scale_x: float, scale_y: float) -> "Camera":
        """The camera of the image resized by these factors (the official convention: K's rows are multiplied)."""
        return dataclasses.replace(self, K=self.K * np.array([[scale_x], [scale_y], [1.0]]))

    def projection(self) -> np.ndarray:
        """K cam_T_world as [4, 4] with last row 0 0 0 1: world points to (u z, v z, z, 1)."""
        projection = np.eye(4)
        projection[:3] = self.K @ self.cam_T_world[:3]
        return projection

    def depth_range(self, numdepth: int) -> tuple[float, float]:
        """(depth_min, depth_max) of the file: depth_max = depth_min + interval * number of depths (specs: formats)."""
        depth_min, interval = self.depth_line[:2]
        count = int(self.depth_line[2]) if len(self.depth_line) > 2 and int(self.depth_line[2]) > 0 else numdepth
        return depth_min, depth_min + count * interval

    def depth_values(self, numdepth: int, interval_scale: float, path: PathLike) -> np.ndarray:
        """Exactly `numdepth` depth hypotheses, float32 [numdepth]; `path` is named in errors."""
        if not 2 <= len(self.depth_line) <= 4:
            raise DataError(f"{path}: {_DEPTH_LINE}")
        depth_min, depth_max = self.depth_range(numdepth)
        if not np.finfo(np.float32).tiny <= depth_min < depth_max:  # less is 0 in float32
            raise DataError(f"{path}: its depth range {depth_min:g} to {depth_max:g} is not positive and increasing")
        interval = (depth_max - depth_min) / numdepth * interval_scale
        last = depth_min + interval * (numdepth - 1)
        if not last < float(np.finfo(np.float32).max) or np.float32(depth_min + interval) == np.float32(depth_min):
            raise DataError(
                f"{path}: its depth range ends at {last:g} in steps of {interval:g}, which float32 cannot hold"
            )
        # float32 arange rounds the step like the official code does, which shifts the far end by about 1e-3 mm.
        return np.arange(depth_min, depth_min + interval * (numdepth - 0.5), interval, dtype=np.float32)


def read_camera(path: PathLike) -> Camera:
    """Read a `*_cam.txt` file; numbers may be separated by any white space."""
    words = read_text(path).split(maxsplit=_CAMERA_WORDS)
    if len(words) < 27 or words[0] != "extrinsic" or words[17] != "intrinsic":
        raise DataError(
            f"{path}: is not a camera file ('extrinsic' 4x4, 'intrinsic' 3x3, depth line); it is incomplete"
        )
    if len(words) > _CAMERA_WORDS:
        raise DataError(f"{path}: {_DEPTH_LINE}; it has more numbers")
    numbers = [_camera_number(path, word) for word in words[1:17] + words[18:]]
    cam_T_world = np.array(numbers[:16]).reshape(4, 4)
    K = np.array(numbers[16:25]).reshape(3, 3)
    if np.abs(cam_T_world[3] - (0, 0, 0, 1)).max() > 1e-6 or np.abs(K[2] - (0, 0, 1)).max() > 1e-6:
        raise DataError(f"{path}: its extrinsic must end with the row 0 0 0 1, its intrinsic with 0 0 1")
    if abs(np.linalg.det(K)) < 1e-12 or abs(np.linalg.det(cam_T_world)) < 1e-12:
        raise DataError(f"{path}: its extrinsic or intrinsic matrix cannot be inverted")
    return Camera(K, cam_T_world, tuple(numbers[25:]))


def _camera_number(path: PathLike, word: str) -> float:
    """A number of a camera file, which float32 must hold."""
    try:
        number = float(word)
    except ValueError:
        raise DataError(f"{path}: could not convert {word[:40]!r} to a number") from None
    if not math.isfinite(number):
        raise DataError(f"{path}: holds a number that is not finite")
    if abs(number) > float(np.finfo(np.float32).max):
        raise DataError(f"{path}: holds {number:g}, which float32 cannot hold")
    return number


def write_camera(path: PathLike, camera: Camera, precision: type[np.floating] = np.float32) -> None:
    """Write a `*_cam.txt` file; matrices with float32 precision, as the official programs do, or another."""

    def rows(matrix: np.ndarray) -> str:
        return "".join(" ".join(str(value) for value in row) + "\n" for row in matrix.astype(precision))

    last = " ".join(f"{value:.9g}" for value in camera.depth_line)
    text = f"extrinsic\n{rows(camera.cam_T_world)}\nintrinsic\n{rows(camera.K)}\n{last}\n"
    write_bytes(path, text.encode())


# ---------------------------------------------------------------- pairs

Pairs = list[tuple[int, list[int]]]

_LAST_VIEW = 99_999_999  # files of views are named with eight digits


def read_pairs(path: PathLike) -> Pairs:
    """Read `pair.txt`: (reference view, source views best first) in file order; the sources may be empty."""
    lines = read_text(path).split("\n")
    try:
        count = int(lines[0])
        pairs = []
        for i in range(count):
            reference = int(lines[1 + 2 * i])
            words = lines[2 + 2 * i].split()
            sources = [int(word) for word in words[1::2]]
            if len(sources) != int(words[0]) or len(words) != 1 + 2 * len(sources):
                raise ValueError(f"view {reference} announces {words[0]} sources")
            for score in words[2::2]:
                float(score)
            pairs.append((reference, sources))
    except (ValueError, IndexError) as error:
        raise DataError(f"{path}: is damaged or incomplete ({reason(error)}); make it again") from None
    known = set()
    for reference, sources in pairs:
        if reference < 0 or reference in known or reference in sources:
            raise DataError(f"{path}: view {reference} is negative, listed twice, or its own source")
        known.add(reference)
        for source in (reference, *sources):
            if source < 0:
                raise DataError(f"{path}: view {reference} names source {source}, which is negative")
            if source > _LAST_VIEW:
                raise DataError(f"{path}: names a view beyond {_LAST_VIEW}, the last number of a file name")
    if not any(sources for _, sources in pairs):
        raise DataError(f"{path}: lists no view that has source views")
    return pairs


def write_pairs(path: PathLike, pairs: list[tuple[int, list[tuple[int, float]]]]) -> None:
    """Write `pair.txt` from (reference view, [(source view, score), ...])."""
    text = f"{len(pairs)}\n"
    for reference, sources in pairs:
        text += f"{reference}\n{len(sources)} " + " ".join(f"{view} {score:.3f}" for view, score in sources) + "\n"
    write_bytes(path, text.encode())


# ---------------------------------------------------------------- images


def write_image(path: PathLike, image: np.ndarray, quality: int = 95) -> None:
    """Write uint8 [H, W] or RGB [H, W, 3] as .png or .jpg."""
    suffix = str(path).rsplit(".", 1)[-1].lower()
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix in ("jpg", "jpeg") else []
    encoded = encode_image(image, suffix, options)
    if encoded is None:
        raise DataError(f"{path}: the image cannot be encoded")
    write_bytes(path, encoded)


def encode_image(image: np.ndarray, suffix: str, options: Sequence[int] = ()) -> bytes | None:
    """The content of a file of a format of OpenCV with uint8 [H, W] or RGB [H, W, 3]; None where it cannot be made."""
    pixels = image[..., ::-1] if image.ndim == 3 else image
    ok, encoded = cv2.imencode(f".{suffix}", np.ascontiguousarray(pixels), list(options))
    return encoded.tobytes() if ok else None


def colour_map(
    data: np.ndarray, low: float | None = None, high: float | None = None, colours: int = cv2.COLORMAP_TURBO
) -> np.ndarray:
    """RGB uint8 picture of a map [H, W] from low to high, by default robust limits; not positive or finite is black.

    `colours` is one of OpenCV's colour maps.
    """
    valid = np.isfinite(data) & (data > 0)
    if low is None or high is None:
        low, high = np.percentile(data[valid], (2, 98)) if valid.any() else (0.0, 1.0)
    scaled = np.clip((np.nan_to_num(data) - low) / max(high - low, 1e-12), 0, 1)
    coloured = cv2.applyColorMap((scaled * 255).astype(np.uint8), colours)[..., ::-1]
    return np.where(valid[..., None], coloured, 0).astype(np.uint8)


# ---------------------------------------------------------------- gipuma's dmb

_DMB_HEADER = struct.Struct("<4i")


def read_dmb(path: PathLike) -> np.ndarray:
    """Read a gipuma `.dmb` file as float32 [H, W] or [H, W, C]."""
    content = read_bytes(path)
    if len(content) < _DMB_HEADER.size:
        raise DataError(f"{path}: is not a dmb file; it is too short")
    kind, height, width, channels = _DMB_HEADER.unpack_from(content)
    found = len(content) - _DMB_HEADER.size
    if kind != 1 or min(height, width, channels) < 1 or found != 4 * height * width * channels:
        raise DataError(f"{path}: is not a dmb file of type 1, or is incomplete")
    data = np.frombuffer(content, "<f4", offset=_DMB_HEADER.size).astype(np.float32)
    return data.reshape((height, width) if channels == 1 else (height, width, channels))


def write_dmb(path: PathLike, data: np.ndarray) -> None:
    """Write float32 [H, W] or [H, W, C] as a gipuma `.dmb` file."""
    channels = 1 if data.ndim == 2 else data.shape[2]
    write_bytes(path, _DMB_HEADER.pack(1, *data.shape[:2], channels), np.ascontiguousarray(data, "<f4").tobytes())


# ---------------------------------------------------------------- PLY

_XYZ, _NORMAL, _RGB = ("x", "y", "z"), ("nx", "ny", "nz"), ("red", "green", "blue")
_PLY_HEADER_SIZE = 320


class PlyWriter:
    """Appends coloured points to an open binary file; `finish` writes the header, whose room is kept in front."""

    def __init__(self, file: BinaryIO, normals: bool = False) -> None:
        self._file = file
        self._names = _XYZ + _NORMAL if normals else _XYZ
        self.count = 0
        file.write(b" " * _PLY_HEADER_SIZE)

    def append(self, points: np.ndarray, colors: np.ndarray, normals: np.ndarray | None = None) -> None:
        """Add points float32 [N, 3] with RGB uint8 colors [N, 3], and normals float32 [N, 3] if the file has some."""
        floats = [points] if self._names == _XYZ else [points, normals]
        vertices = np.empty(len(points), [("floats", "<f4", len(self._names)), ("rgb", "u1", 3)])
        vertices["floats"], vertices["rgb"] = np.hstack(floats), colors
        self._file.write(vertices.tobytes())
        self.count += len(points)

    def finish(self) -> None:
        """Write the header over its room; a comment line fills what is left of it."""
        properties = [f"property float {name}" for name in self._names] + [f"property uchar {name}" for name in _RGB]
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
