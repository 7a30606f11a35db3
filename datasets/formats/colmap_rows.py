"""The records of COLMAP's files, binary and text, as they stand there (colmap.github.io/format.html)."""

import struct
from collections.abc import Iterator

import numpy as np

# COLMAP's camera models by its numbers: name, parameters, and the model of datasets.photos.distortion.
MODELS = {
    0: ("SIMPLE_PINHOLE", "f cx cy", "opencv"),
    1: ("PINHOLE", "fx fy cx cy", "opencv"),
    2: ("SIMPLE_RADIAL", "f cx cy k1", "opencv"),
    3: ("RADIAL", "f cx cy k1 k2", "opencv"),
    4: ("OPENCV", "fx fy cx cy k1 k2 p1 p2", "opencv"),
    5: ("OPENCV_FISHEYE", "fx fy cx cy k1 k2 k3 k4", "fisheye"),
    6: ("FULL_OPENCV", "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6", "opencv"),
    7: ("FOV", "fx fy cx cy omega", "fov"),
    8: ("SIMPLE_RADIAL_FISHEYE", "f cx cy k1", "fisheye"),
    9: ("RADIAL_FISHEYE", "f cx cy k1 k2", "fisheye"),
    10: ("THIN_PRISM_FISHEYE", "fx fy cx cy k1 k2 p1 p2 k3 k4 sx1 sy1", "thin_prism_fisheye"),
    11: (
        "RAD_TAN_THIN_PRISM_FISHEYE",
        "fx fy cx cy k0 k1 k2 k3 k4 k5 p0 p1 s0 s1 s2 s3",
        "rad_tan_thin_prism_fisheye",
    ),
    12: ("SIMPLE_DIVISION", "f cx cy k", "division"),
    13: ("DIVISION", "fx fy cx cy k", "division"),
    14: ("SIMPLE_FISHEYE", "f cx cy", "fisheye"),
    15: ("FISHEYE", "fx fy cx cy", "fisheye"),
    16: ("EUCM", "fx fy cx cy alpha beta", "eucm"),
    17: ("EQUIRECTANGULAR", "w h", ""),  # the whole sphere, of which no pinhole image can be made
}
COUNT, _CAMERA = struct.Struct("<Q"), struct.Struct("<IiQQ")
_IMAGE, _POINT = struct.Struct("<I7dI"), struct.Struct("<Q3d3BdQ")
_OBSERVATION_SIZE = 24  # of a point in an image: x, y, the point's number


# ---------------------------------------------------------------- binary


def binary_cameras(data: bytes) -> Iterator[tuple]:
    """(number, model, size, parameters) of every camera."""
    (count,), at = COUNT.unpack_from(data), COUNT.size
    for _ in range(count):
        number, model, width, height = _CAMERA.unpack_from(data, at)
        at += _CAMERA.size
        name, parameters, _ = MODELS.get(model, (f"number {model}", "", ""))
        values = struct.Struct(f"<{len(parameters.split())}d")
        yield number, name, (width, height), values.unpack_from(data, at)
        if not parameters:
            return  # of unknown length: what follows cannot be found
        at += values.size


def binary_images(data: bytes) -> Iterator[tuple]:
    """(number, quaternion and translation, camera, name) of every image."""
    (count,), at = COUNT.unpack_from(data), COUNT.size
    for _ in range(count):
        number, *values, camera = _IMAGE.unpack_from(data, at)
        end = data.index(b"\0", at + _IMAGE.size)
        name = data[at + _IMAGE.size : end].decode()
        (observations,) = COUNT.unpack_from(data, end + 1)
        at = end + 1 + COUNT.size + observations * _OBSERVATION_SIZE
        if at > len(data):
            raise ValueError(f"it announces {observations} points of {name[:60]!a}, but ends before")
        yield number, values, camera, name


def binary_points(data: bytes) -> Iterator[tuple]:
    """(x, y, z) and the images' numbers [n] of every point."""
    (count,), at = COUNT.unpack_from(data), COUNT.size
    for _ in range(count):
        _, *xyz, _, _, _, _, length = _POINT.unpack_from(data, at)
        at += _POINT.size
        if at + 8 * length > len(data):
            raise ValueError(f"it announces a track of {length} images, but ends before")
        yield xyz, np.frombuffer(data, "<u4", 2 * length, at)[::2].astype(np.int64)
        at += 8 * length


# ---------------------------------------------------------------- text


def _text_lines(text: str) -> Iterator[str]:
    """The lines that are neither comments nor blank."""
    return (line for line in text.split("\n") if line.strip() and not line.startswith("#"))


def text_cameras(text: str) -> Iterator[tuple]:
    """(number, model, size, parameters) of every camera."""
    for line in _text_lines(text):
        number, model, width, height, *values = line.split()
        yield int(number), model, (int(width), int(height)), [float(value) for value in values]


def text_images(text: str, damaged: list[str]) -> Iterator[tuple]:
    """(number, quaternion and translation, camera, name) of every image; lines that are none are added to `damaged`.

    COLMAP writes a second line per image, the points seen in it, which may be blank; some programs leave it out.
    """
    for line in text.split("\n"):
        if line.startswith("#"):
            continue
        words = line.strip().split(maxsplit=9)
        if not words or _is_points_line(line):
            continue
        try:
            row = int(words[0]), [float(word) for word in words[1:8]], int(words[8]), words[9]
        except (ValueError, IndexError):
            # Behind an image it might be its points, which nobody needs, or the next image of one line.
            damaged.append(line.strip())
            continue
        yield row


def _is_points_line(line: str) -> bool:
    """Whether a line holds points seen in an image, x y number each, rather than an image, which ends with a name."""
    words = line.split(maxsplit=12)
    if len(words) < 13 and len(words) % 3:
        return False
    try:
        for word in words[:12]:
            float(word)
    except ValueError:
        return False
    return True


def text_points(text: str, damaged: list[str]) -> Iterator[tuple]:
    """(x, y, z) and the images' numbers [n] of every point; lines that are none are added to `damaged`."""
    for line in _text_lines(text):
        words = line.split()
        try:
            if len(words) < 8 or len(words) % 2:
                raise ValueError
            row = [float(word) for word in words[1:4]], np.array([int(word) for word in words[8::2]], np.int64)
        except (ValueError, OverflowError):
            damaged.append(line.strip())
            continue
        yield row
