"""Reading COLMAP models, binary or text: cameras, images and points3D (colmap.github.io/format.html; docs/formats.md).

Counts that a file claims are never allocated; what is read is bounded by the file's size. A damaged image or point is
left out; a file that breaks off is refused.
"""

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.files import DataError, PathLike, read_bytes, read_text, reason
from datasets.formats.colmap_rows import (
    COUNT,
    MODELS,
    binary_cameras,
    binary_images,
    binary_points,
    text_cameras,
    text_images,
    text_points,
)
from datasets.photos.posed import (
    Lens,
    PosedPhoto,
    PosedPhotos,
    check_numbers,
    check_photo_name,
    check_pose,
    make_lens,
    posed_photos,
    usable_numbers,
)
from datasets.photos.remarks import Remarks
from datasets.photos.rotation import rotation_of_quaternion

_BY_NAME = {name: (parameters.split(), model) for name, parameters, model in MODELS.values()}
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

# Where programs put a model inside the folder that they work in: COLMAP, Nerfstudio, instant-ngp, 3DGS's convert.py.
_PLACES = (
    "",
    "sparse",
    "colmap/sparse",
    "colmap_sparse",
    "colmap",
    "distorted/sparse",
    "dense/sparse",
    "dense/0/sparse",
)
_SUFFIXES = (".bin", ".txt")


def find_model(folder: PathLike) -> tuple[Path, str] | None:
    """The folder that holds the model and ".bin" or ".txt": `folder` itself or, say, its sparse/0 or sparse.

    Of several models beside each other (0, 1, ...) it is the one of the most images.
    """
    models = find_models(folder)
    return models[0] if models else None


def find_models(folder: PathLike) -> list[tuple[Path, str]]:
    """The models of the first place that has some, as `find_model` returns them, the largest first."""
    for place in _PLACES:
        base = Path(folder) / place if place else Path(folder)
        itself = _model_in(base)
        if itself and not place:
            return [itself]
        numbered = sorted((path for path in base.glob("[0-9]*") if path.name.isdecimal()), key=lambda path: path.name)
        models = [model for path in numbered if (model := _model_in(path))]
        models += [itself] if itself else []
        if len(models) > 1:
            models.sort(key=lambda model: -_count_images(*model))
        if models:
            return models
    return []


def _model_in(path: Path) -> tuple[Path, str] | None:
    for suffix in _SUFFIXES:
        if (path / f"images{suffix}").exists() and (path / f"cameras{suffix}").exists():
            return path, suffix
    return None


def _count_images(folder: Path, suffix: str) -> int:
    """How many images a model has; 0 where it cannot be read."""
    try:
        if suffix == ".txt":
            return sum(1 for _ in text_images(read_text(folder / "images.txt"), []))
        return COUNT.unpack_from(read_bytes(folder / "images.bin"))[0]
    except (DataError, *_BROKEN):
        return 0


def read_colmap(folder: PathLike, remarks: Remarks = Remarks()) -> PosedPhotos:
    """Read the model in a folder, or where in it programs put it (`find_model`).

    Raises DataError when there is none, when a file is damaged, and for camera models that have no pinhole image.
    """
    models = find_models(folder)
    if not models:
        raise DataError(f"{folder}: holds no COLMAP model (cameras, images and points3D, .bin or .txt)")
    (model, suffix), *others = models
    if others:
        names = ", ".join(path.name for path, _ in others[:8])
        remarks.say(f"{model}: the largest of {len(models)} models, taken; not used: {names}")
    if suffix == ".bin" and (model / "images.txt").exists():
        numbers = [_count_images(model, kind) for kind in _SUFFIXES]
        if numbers[0] != numbers[1]:
            remarks.say(f"{model}: images.bin of {numbers[0]} images is read, not images.txt of {numbers[1]}")
    text = suffix == ".txt"
    cameras_path, images_path = (model / f"{name}{suffix}" for name in ("cameras", "images"))
    cameras, poses = read_cameras(cameras_path, text), read_images(images_path, text, remarks)
    photos, place = [], {}
    for number, pose in poses.items():
        if pose.camera not in cameras:
            remarks.leave_out(f"{images_path}: {pose.name} has camera {pose.camera}, which {cameras_path} lacks")
            continue
        place[number] = len(photos)
        photos.append(PosedPhoto(pose.name, cameras[pose.camera], pose.cam_T_world))
    points_path = next((p for s in (suffix, *_SUFFIXES) if (p := model / f"points3D{s}").exists()), None)
    if points_path is None:
        remarks.leave_out(f"{model / f'points3D{suffix}'}: no such file; pairs and depths come from the cameras")
        return posed_photos(photos, np.empty((0, 3)), np.empty((0, 2), np.int64), images_path)
    points = read_points(points_path, points_path.suffix == ".txt", remarks)
    if len(points.xyz) == 0:
        remarks.say(f"{points_path}: holds no points; pairs and depths come from the cameras")
    return posed_photos(photos, points.xyz, _tracks(points, poses, place, points_path, remarks), images_path)


def _tracks(points: Points, poses: dict[int, Pose], place: dict[int, int], path: Path, remarks: Remarks) -> np.ndarray:
    """(point, photo) of every entry of the points' tracks, [T, 2], without those of images that are not there."""
    numbers, inverse = np.unique(points.images, return_inverse=True)
    unknown = [number for number in numbers.tolist() if number not in poses]
    if unknown:
        remarks.leave_out(f"{path}: a point is seen in image {unknown[0]}, which the model lacks")
    seen_in = np.array([place.get(number, -1) for number in numbers.tolist()], np.int64)[inverse]
    tracks = np.stack([np.repeat(np.arange(len(points.xyz)), points.lengths), seen_in], axis=1)
    return tracks[seen_in >= 0]


def read_cameras(path: PathLike, text: bool) -> dict[int, Lens]:
    """The lenses in cameras.txt (`text`) or cameras.bin, by their numbers."""
    try:
        rows = list(text_cameras(read_text(path)) if text else binary_cameras(read_bytes(path)))
    except _BROKEN as error:
        raise _damaged(path, error) from None
    lenses = {}
    for number, name, size, values in rows:
        names, model = _BY_NAME.get(name, ([], ""))
        if not model:
            advice = "cut the panoramas into pinhole images" if name == "EQUIRECTANGULAR" else "update COLMAP's model"
            advice = f"{advice}, or run COLMAP's image_undistorter first"
            raise DataError(f"{path}: camera model {name[:30]!a} is not supported; {advice}")
        if len(values) != len(names) or number in lenses:
            raise DataError(f"{path}: camera {number} is given twice or has not the {len(names)} numbers of {name}")
        lenses[number] = make_lens(dict(zip(names, values, strict=True)), size, model, path)
    return lenses


def read_images(path: PathLike, text: bool, remarks: Remarks = Remarks()) -> dict[int, Pose]:
    """The poses in images.txt (`text`) or images.bin, by their images' numbers; those of damaged images are left out.

    images.txt has two lines per image, of which the second (the points seen) may be missing.
    """
    damaged: list[str] = []
    try:
        rows = list(text_images(read_text(path), damaged) if text else binary_images(read_bytes(path)))
    except _BROKEN as error:
        raise _damaged(path, error) from None
    if damaged:
        remarks.leave_out(f"{path}: {len(damaged)} of its lines are damaged ({damaged[0][:60]!a})")
    poses = {}
    for number, values, camera, name in rows:
        if number in poses:
            raise DataError(f"{path}: image {number} is listed twice")
        try:
            cam_T_world = _pose(np.array(values), path)
        except DataError as error:
            remarks.leave_out(f"{error} (image {name[:60]!a})")
            continue
        poses[number] = Pose(cam_T_world, camera, check_photo_name(name, path))
    return poses


def read_points(path: PathLike, text: bool, remarks: Remarks = Remarks()) -> Points:
    """The points in points3D.txt (`text`) or points3D.bin; damaged ones are left out, and an empty file has none."""
    damaged: list[str] = []
    try:
        data = read_text(path) if text else read_bytes(path)
        rows = list(text_points(data, damaged) if text else binary_points(data)) if data else []
        xyz = np.array([row[0] for row in rows], np.float64).reshape(-1, 3)
    except _BROKEN as error:
        raise _damaged(path, error) from None
    if damaged:
        remarks.leave_out(f"{path}: {len(damaged)} of its lines are damaged ({damaged[0][:60]!a})")
    good = usable_numbers(xyz).all(axis=1)
    if not good.all():
        remarks.leave_out(
            f"{path}: {np.sum(~good)} of {len(good)} points hold a number that is not finite or too large"
        )
    tracks = [row[1] for row, kept in zip(rows, good, strict=True) if kept]
    images = np.concatenate(tracks or [np.empty(0, np.int64)])
    return Points(xyz[good], np.array([len(track) for track in tracks], np.int64), images)


def _damaged(path: PathLike, error: Exception) -> DataError:
    return DataError(f"{path}: is damaged or incomplete ({reason(error)}); export the model again")


def _pose(values: np.ndarray, path: PathLike) -> np.ndarray:
    """cam_T_world of a quaternion (w, x, y, z) and a translation."""
    check_numbers(values, path)
    cam_T_world = np.eye(4)
    cam_T_world[:3, :3] = rotation_of_quaternion(values[:4], path)
    cam_T_world[:3, 3] = values[4:]
    return check_pose(cam_T_world, path)
