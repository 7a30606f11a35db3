"""Reading and writing of the small text and raw files: camera files, pair files, gipuma's dmb (specs: formats).

Every other format has a module of its own in `datasets.formats`. Readers raise `DataError` with the file's name, what
is wrong and what to do. Writers are atomic.
"""

import math
import struct

import numpy as np

from datasets.camera import _DEPTH_LINE, Camera, fits_float32
from datasets.files import DataError, PathLike, read_bytes, read_text, reason, write_bytes

# ---------------------------------------------------------------- cameras

_CAMERA_WORDS = 31  # two headings, 16 and 9 numbers, and up to 4 of the last line


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


def write_camera(path: PathLike, camera: Camera, precision: type[np.floating] | None = None) -> None:
    """Write a `*_cam.txt` file; matrices with float32 precision, as the official programs do, or another.

    Without a `precision` it is float64 where float32 cannot hold the camera's world coordinates.
    """
    if precision is None:
        precision = np.float32 if fits_float32([camera]) else np.float64

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
