"""Reading and writing of the small text and raw files: camera files, pair files, gipuma's dmb (docs/formats.md).

Every other format has a module of its own in `datasets.formats`. Readers raise `DataError` with the file's name, what
is wrong and what to do. Writers are atomic.
"""

import math
import re
import struct

import numpy as np

from datasets.camera import _DEPTH_LINE, Camera, fits_float32
from datasets.files import DataError, PathLike, read_bytes, read_text, reason, write_bytes

# ---------------------------------------------------------------- cameras

_CAMERA_WORDS = 31  # two headings, 16 and 9 numbers, and up to 4 of the last line
_HEADING = re.compile(r"(extrinsics?|intrinsics?):?", re.IGNORECASE)


def read_camera(path: PathLike) -> Camera:
    """Read a `*_cam.txt` file.

    Numbers may be separated by white space and commas, the headings in any case and with a colon, the extrinsic without
    its last row; lines that begin with # are comments.
    """
    text = re.sub(r"(?m)^[ \t]*#.*$", "", read_text(path)).replace(",", " ")
    words = text.split(maxsplit=_CAMERA_WORDS)
    headings = [i for i, word in enumerate(words) if _HEADING.fullmatch(word)]
    starts = [words[i][0].lower() for i in headings]
    if starts != ["e", "i"] or headings[0] != 0 or headings[1] not in (13, 17) or len(words) < headings[1] + 10:
        what = _difference(words, headings)
        raise DataError(f"{path}: is not a camera file ('extrinsic' 4x4, 'intrinsic' 3x3, depth line); {what}")
    place = headings[1]
    if len(words) > place + 14:
        raise DataError(f"{path}: {_DEPTH_LINE}; it has more numbers")
    numbers = [_camera_number(path, word) for word in words[1:place]]
    numbers += [0.0, 0.0, 0.0, 1.0] if place == 13 else []
    numbers += [_camera_number(path, word) for word in words[place + 1 :]]
    cam_T_world = np.array(numbers[:16]).reshape(4, 4)
    K = np.array(numbers[16:25]).reshape(3, 3)
    if np.abs(cam_T_world[3] - (0, 0, 0, 1)).max() > 1e-6 or np.abs(K[2] - (0, 0, 1)).max() > 1e-6:
        raise DataError(f"{path}: its extrinsic must end with the row 0 0 0 1, its intrinsic with 0 0 1")
    if abs(np.linalg.det(K)) < 1e-12 or abs(np.linalg.det(cam_T_world)) < 1e-12:
        raise DataError(f"{path}: its extrinsic or intrinsic matrix cannot be inverted")
    return Camera(K, cam_T_world, tuple(numbers[25:]))


def _difference(words: list[str], headings: list[int]) -> str:
    """What of a camera file is not as it should be."""
    if not words:
        return "it is empty"
    if not headings or headings[0] != 0:
        return f"it begins with {words[0][:20]!a} instead of 'extrinsic'"
    if len(headings) != 2 or words[headings[1]][0] not in "iI":
        return "it has no 'intrinsic' behind the extrinsic; it is incomplete"
    if headings[1] not in (13, 17):
        return f"its extrinsic has {headings[1] - 1} numbers instead of 16, or 12 without the last row"
    return f"its intrinsic has {len(words) - headings[1] - 1} numbers instead of 9; it is incomplete"


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
    """Read `pair.txt`: (reference view, source views best first) in file order; the sources may be empty.

    Blank lines count for nothing. Sources that are the view itself or listed before, and those of score 0 behind
    others, are dropped: converters write them where a view has few neighbours.
    """
    lines = [line for line in read_text(path).split("\n") if line.strip()]
    _check_pair_lines(path, lines)
    try:
        pairs = [_pair(path, lines[i].strip(), lines[i + 1].split()) for i in range(1, len(lines), 2)]
    except ValueError as error:
        raise DataError(f"{path}: is damaged or incomplete ({reason(error)}); make it again") from None
    known = set()
    for reference, sources in pairs:
        if reference < 0 or reference in known:
            raise DataError(f"{path}: view {reference} is negative, or listed twice")
        known.add(reference)
        for source in (reference, *sources):
            if source < 0:
                raise DataError(f"{path}: view {reference} names source {source}, which is negative")
            if source > _LAST_VIEW:
                raise DataError(f"{path}: names a view beyond {_LAST_VIEW}, the last number of a file name")
    if not any(sources for _, sources in pairs):
        raise DataError(f"{path}: lists no view that has source views")
    return pairs


def _check_pair_lines(path: PathLike, lines: list[str]) -> None:
    """Raise DataError unless the number of lines is what the first one says."""
    if len(lines) > 1 and len(lines[0].split()) == 1 and len(lines[1].split()) > 1:
        raise DataError(f"{path}: lacks its first line, the number of views; write {len(lines) // 2} there")
    try:
        count = int(lines[0]) if lines else -1
    except ValueError:
        count = -1
    if count < 0:
        raise DataError(f"{path}: is damaged or incomplete (its first line is not the number of views); make it again")
    if len(lines) != 1 + 2 * count:
        found = f"{(len(lines) - 1) / 2:g}"
        raise DataError(
            f"{path}: is damaged or incomplete ({count} views are announced, {found} listed); make it again"
        )


def _pair(path: PathLike, view: str, words: list[str]) -> tuple[int, list[int]]:
    """A view and its sources, of its two lines."""
    reference, count = int(view), int(words[0])
    if len(words) - 1 == count > 0:
        raise DataError(f"{path}: view {reference} has sources without scores; write 'count id score id score ...'")
    if len(words) != 1 + 2 * count:
        raise DataError(
            f"{path}: is damaged or incomplete (view {reference} announces {count} sources, but lists "
            f"{(len(words) - 1) / 2:g}); make it again"
        )
    sources, scores = [int(word) for word in words[1::2]], [float(word) for word in words[2::2]]
    if any(scores):  # otherwise the scores say nothing
        while scores[-1] == 0:
            sources.pop()
            scores.pop()
    return reference, [source for source in dict.fromkeys(sources) if source != reference]


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
