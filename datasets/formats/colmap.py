"""Reading COLMAP models, binary or text: cameras, images and points3D (colmap.github.io/format.html).

Counts that a file claims are never allocated; what is read is bounded by the file's size.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.files import DataError, PathLike, read_bytes, read_text, reason
from datasets.photos.posed import (
    Lens,
    PosedPhoto,
    PosedPhotos,
    check_numbers,
    check_photo_name,
    check_pose,
    make_lens,
    posed_photos,
)

# Camera models that OpenCV has too, by COLMAP's number: name and parameters.
_MODELS = {
    0: ("SIMPLE_PINHOLE", "f cx cy"),
    1: ("PINHOLE", "fx fy cx cy"),
    2: ("SIMPLE_RADIAL", "f cx cy k1"),
    3: ("RADIAL", "f cx cy k1 k2"),
    4: ("OPENCV", "fx fy cx cy k1 k2 p1 p2"),
    5: ("OPENCV_FISHEYE", "fx fy cx cy k1 k2 k3 k4"),
    6: ("FULL_OPENCV", "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6"),
    8: ("SIMPLE_RADIAL_FISHEYE", "f cx cy k1"),
    9: ("RADIAL_FISHEYE", "f cx cy k1 k2"),
}
_PARAMETERS = dict(_MODELS.values())
_FILES = ("cameras", "images", "points3D")

_COUNT, _CAMERA = struct.Struct("<Q"), struct.Struct("<IiQQ")
_IMAGE, _POINT = struct.Struct("<I7dI"), struct.Struct("<Q3d3BdQ")
_OBSERVATION_SIZE = 24  # of a point in an image: x, y, the point's number
_BROKEN = (ValueError, OverflowError, IndexError, struct.error)


class Pose(NamedTuple):
    """An image of a model: cam_T_world [4, 4], the number of its camera, its file's name."""

    cam_T_world: np.ndarray
    camera: int
    name: str


class Points(NamedTuple):
    """Points of a model: xyz [P, 3]; `lengths` [P] of their tracks; the images' numbers, track after track, [T]."""

    xyz: np.ndarray
    lengths: np.ndarray
    images: np.ndarray


# ---------------------------------------------------------------- the model


def find_model(folder: PathLike) -> tuple[Path, str] | None:
    """The folder that holds the model, `folder` itself or its sparse/0 or sparse, and ".bin" or ".txt"."""
    for path in (Path(folder), Path(folder) / "sparse" / "0", Path(folder) / "sparse"):
        for suffix in (".bin", ".txt"):
            if (path / f"images{suffix}").exists() and (path / f"cameras{suffix}").exists():
                return path, suffix
    return None


def read_colmap(folder: PathLike) -> PosedPhotos:
    """Read the model in a folder, or in its sparse/0.

    Raises DataError when there is none, when a file is damaged, and for camera models that OpenCV does not have.
    """
    found = find_model(folder)
    if found is None:
        raise DataError(f"{folder}: holds no COLMAP model (cameras, images and points3D, .bin or .txt)")
    model, suffix = found
    paths = {name: model / f"{name}{suffix}" for name in _FILES}
    text = suffix == ".txt"
    cameras, poses = read_cameras(paths["cameras"], text), read_images(paths["images"], text)
    points = read_points(paths["points3D"], text)
    place = {number: k for k, number in enumerate(poses)}
    photos = []
    for pose in poses.values():
        if pose.camera not in cameras:
            raise DataError(f"{paths['images']}: {pose.name} has camera {pose.camera}, which {paths['cameras']} lacks")
        photos.append(PosedPhoto(pose.name, cameras[pose.camera], pose.cam_T_world))
    numbers, inverse = np.unique(points.images, return_inverse=True)
    unknown = [number for number in numbers.tolist() if number not in place]
    if unknown:
        raise DataError(f"{paths['points3D']}: a point is seen in image {unknown[0]}, which {paths['images']} lacks")
    seen_in = np.array([place[number] for number in numbers.tolist()], np.int64)[inverse]
    tracks = np.stack([np.repeat(np.arange(len(points.xyz)), points.lengths), seen_in], axis=1)
    return posed_photos(photos, points.xyz, tracks, paths["images"])


def read_cameras(path: PathLike, text: bool) -> dict[int, Lens]:
    """The lenses in cameras.txt (`text`) or cameras.bin, by their numbers."""
    try:
        rows = list(_text_cameras(read_text(path)) if text else _binary_cameras(read_bytes(path)))
    except _BROKEN as error:
        raise _damaged(path, error) from None
    lenses = {}
    for number, model, size, values in rows:
        if model not in _PARAMETERS:
            raise DataError(
                f"{path}: camera model {model[:30]!a} is not supported; run COLMAP's image_undistorter first"
            )
        names = _PARAMETERS[model].split()
        if len(values) != len(names) or number in lenses:
            raise DataError(f"{path}: camera {number} is given twice or has not the {len(names)} numbers of {model}")
        lenses[number] = make_lens(dict(zip(names, values, strict=True)), size, "FISHEYE" in model, path)
    return lenses


def read_images(path: PathLike, text: bool) -> dict[int, Pose]:
    """The poses in images.txt (`text`) or images.bin, by their images' numbers."""
    try:
        rows = list(_text_images(read_text(path)) if text else _binary_images(read_bytes(path)))
    except _BROKEN as error:
        raise _damaged(path, error) from None
    poses = {}
    for number, values, camera, name in rows:
        if number in poses:
            raise DataError(f"{path}: image {number} is listed twice")
        cam_T_world = _pose(np.array(values), path)
        poses[number] = Pose(cam_T_world, camera, check_photo_name(name, path))
    return poses


def read_points(path: PathLike, text: bool) -> Points:
    """The points in points3D.txt (`text`) or points3D.bin."""
    try:
        rows = list(_text_points(read_text(path)) if text else _binary_points(read_bytes(path)))
        xyz = np.array([row[0] for row in rows], np.float64).reshape(-1, 3)
        images = np.concatenate([row[1] for row in rows] or [np.empty(0, np.int64)])
    except _BROKEN as error:
        raise _damaged(path, error) from None
    check_numbers(xyz, path)
    return Points(xyz, np.array([len(row[1]) for row in rows], np.int64), images)


def _damaged(path: PathLike, error: Exception) -> DataError:
    return DataError(f"{path}: is damaged or incomplete ({reason(error)}); export the model again")


def _pose(values: np.ndarray, path: PathLike) -> np.ndarray:
    """cam_T_world of a quaternion (w, x, y, z) and a translation."""
    check_numbers(values, path)
    length = np.linalg.norm(values[:4])
    if length < 1e-6:
        raise DataError(f"{path}: holds a rotation of zeros")
    w, x, y, z = values[:4] / length
    cam_T_world = np.eye(4)
    cam_T_world[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    cam_T_world[:3, 3] = values[4:]
    return check_pose(cam_T_world, path)


# ---------------------------------------------------------------- binary


def _binary_cameras(data: bytes) -> Iterator[tuple]:
    """(number, model, size, parameters) of every camera."""
    (count,), at = _COUNT.unpack_from(data), _COUNT.size
    for _ in range(count):
        number, model, width, height = _CAMERA.unpack_from(data, at)
        at += _CAMERA.size
        name, parameters = _MODELS.get(model, (f"number {model}", ""))
        values = struct.Struct(f"<{len(parameters.split())}d")
        yield number, name, (width, height), values.unpack_from(data, at)
        if not parameters:
            return  # of unknown length: what follows cannot be found
        at += values.size


def _binary_images(data: bytes) -> Iterator[tuple]:
    """(number, quaternion and translation, camera, name) of every image."""
    (count,), at = _COUNT.unpack_from(data), _COUNT.size
    for _ in range(count):
        number, *values, camera = _IMAGE.unpack_from(data, at)
        end = data.index(b"\0", at + _IMAGE.size)
        name = data[at + _IMAGE.size : end].decode()
        (observations,) = _COUNT.unpack_from(data, end + 1)
        at = end + 1 + _COUNT.size + observations * _OBSERVATION_SIZE
        if at > len(data):
            raise ValueError(f"it announces {observations} points of {name[:60]!a}, but ends before")
        yield number, values, camera, name


def _binary_points(data: bytes) -> Iterator[tuple]:
    """(x, y, z) and the images' numbers [n] of every point."""
    (count,), at = _COUNT.unpack_from(data), _COUNT.size
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


def _text_cameras(text: str) -> Iterator[tuple]:
    """(number, model, size, parameters) of every camera."""
    for line in _text_lines(text):
        number, model, width, height, *values = line.split()
        yield int(number), model, (int(width), int(height)), [float(value) for value in values]


def _text_images(text: str) -> Iterator[tuple]:
    """(number, quaternion and translation, camera, name) of every image."""
    lines = iter(text.split("\n"))
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        words = line.strip().split(maxsplit=9)
        yield int(words[0]), [float(word) for word in words[1:8]], int(words[8]), words[9]
        next(lines, None)  # the points seen in this image, which may be none


def _text_points(text: str) -> Iterator[tuple]:
    """(x, y, z) and the images' numbers [n] of every point."""
    for line in _text_lines(text):
        words = line.split()
        if len(words) < 8 or len(words) % 2:
            raise ValueError(f"point {words[0][:20]!r} has {len(words)} numbers")
        yield [float(word) for word in words[1:4]], np.array([int(word) for word in words[8::2]], np.int64)
