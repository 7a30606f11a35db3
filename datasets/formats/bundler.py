"""Reading scenes of Bundler (`bundle.out` with its list of images) and of VisualSFM (`.nvm`); docs/formats.md.

Both give points with tracks. Their principal points are the images' middles unless the file says otherwise, so that the
images have to be there to tell their sizes.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datasets.files import DataError, PathLike, read_text, reason
from datasets.formats.images import read_image_size
from datasets.photos.folders import PhotoFolders
from datasets.photos.posed import (
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

_BROKEN = (ValueError, IndexError, OverflowError)

# Bundler's camera looks along -z with y up, the camera of this project along z with y down.
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])

_Point = tuple[list[float], list[int]]  # x y z, and the numbers of the photos that see it


def read_bundler(path: PathLike, photos: PhotoFolders, remarks: Remarks = Remarks()) -> PosedPhotos:
    """Read `bundle.out`; its images' names come from list.txt, <name>.list.txt or bundle.list.txt beside it.

    Cameras of focal length 0 have no pose, and are left out; so are those whose image is not there.
    """
    names = _bundler_names(Path(path))
    lines = [line for line in read_text(path).split("\n") if line.strip() and not line.startswith("#")]
    try:
        cameras, points = (int(word) for word in lines[0].split())
        if len(lines) < 1 + 5 * cameras + 3 * points:
            raise ValueError(f"{cameras} cameras and {points} points are announced, but it ends before")
        if len(names) != cameras:
            raise DataError(f"{path}: has {cameras} cameras, its list of images {len(names)} names")
        found, place = [], {}
        for k, name in enumerate(names):
            rows = [[float(word) for word in line.split()] for line in lines[1 + 5 * k : 6 + 5 * k]]
            photo = _bundler_photo(name, rows, photos, path, remarks)
            if photo is not None:
                place[k] = len(found)
                found.append(photo)
        return _scene(found, place, _bundler_points(lines[1 + 5 * cameras :], points), path)
    except _BROKEN as error:
        raise DataError(f"{path}: is damaged or no bundle.out ({reason(error)!a}); export it again") from None


def _bundler_names(path: Path) -> list[str]:
    for name in ("list.txt", f"{path.name}.list.txt", f"{path.stem}.list.txt", "../list.txt"):
        if (path.parent / name).is_file():
            lines = read_text(path.parent / name).split("\n")
            # A name, which may have spaces, and where the focal length is known 0 and that.
            names = [re.sub(r"\s+0\s+[-+.\deE]+$", "", line.strip()) for line in lines if line.strip()]
            return [check_photo_name(image, path.parent / name) for image in names]
    raise DataError(f"{path}: needs list.txt, Bundler's list of images, beside it")


def _bundler_photo(
    name: str, rows: list[list[float]], photos: PhotoFolders, path: PathLike, remarks: Remarks
) -> PosedPhoto | None:
    """The photo of five lines: focal length, k1 and k2; R; t."""
    focal, k1, k2 = rows[0]
    if focal == 0:
        remarks.leave_out(f"{path}: {name} has no pose")
        return None
    size = _image_size(name, photos, path, remarks)
    if size is None:
        return None
    cam_T_world = np.eye(4)
    cam_T_world[:3] = np.hstack([np.array(rows[1:4]).reshape(3, 3), np.array(rows[4]).reshape(3, 1)])
    check_numbers(cam_T_world, path)
    numbers = {"f": focal, "cx": size[0] / 2, "cy": size[1] / 2, "k1": k1, "k2": k2}
    return PosedPhoto(name, make_lens(numbers, size, "opencv", path), check_pose(_FLIP @ cam_T_world, path))


def _bundler_points(lines: list[str], count: int) -> Iterator[_Point]:
    """Points of three lines: x y z; a colour; a count and camera, key, x, y for every photo."""
    for k in range(count):
        xyz, track = lines[3 * k].split(), lines[3 * k + 2].split()
        if len(xyz) != 3 or len(track) != 1 + 4 * int(track[0]):
            raise ValueError(f"point {k} is cut off")
        yield [float(word) for word in xyz], [int(word) for word in track[1::4]]


# ---------------------------------------------------------------- VisualSFM


def read_nvm(path: PathLike, photos: PhotoFolders, remarks: Remarks = Remarks()) -> PosedPhotos:
    """Read the first, largest model of an `.nvm` file of version 3; the others are named."""
    lines = [line for line in read_text(path).split("\n") if line.strip() and not line.lstrip().startswith("#")]
    try:
        head = lines[0].split()
        if head[0] != "NVM_V3":
            raise DataError(f"{path}: is no NVM file of version 3 (its first word is {head[0][:20]!a})")
        fixed = [float(word) for word in head[2:]] if head[1:2] == ["FixedK"] else []
        count = int(lines[1])
        if len(lines) < 2 + count:
            raise ValueError(f"{count} cameras are announced, but it ends before")
        found, place = [], {}
        for k, line in enumerate(lines[2 : 2 + count]):
            photo = _nvm_photo(line, fixed, photos, path, remarks)
            if photo is not None:
                place[k] = len(found)
                found.append(photo)
        rest = lines[2 + count :]
        points = int(rest[0]) if rest else 0
        if len(rest) > 1 + points and len(rest[1 + points].split()) == 1 and int(rest[1 + points].split()[0]) > 0:
            remarks.say(f"{path}: holds further models, which are not used")
        return _scene(found, place, _nvm_points(rest[1:], points), path)
    except _BROKEN as error:
        raise DataError(f"{path}: is damaged or no NVM file ({reason(error)!a}); export it again") from None


def _nvm_photo(
    line: str, fixed: list[float], photos: PhotoFolders, path: PathLike, remarks: Remarks
) -> PosedPhoto | None:
    """The photo of a line: name, focal length, quaternion (w, x, y, z), centre, radial distortion, 0."""
    words = line.split("\t") if line.count("\t") == 1 else line.rsplit(maxsplit=10)
    name, numbers = words[0].strip(), [float(word) for word in " ".join(words[1:]).split()]
    if len(numbers) != 10:
        raise ValueError(f"{name[:40]!r} has {len(numbers)} numbers instead of 10")
    name = check_photo_name(name.replace('"', " ").strip(), path)
    size = _image_size(name, photos, path, remarks)
    if size is None:
        return None
    check_numbers(np.array(numbers), path)
    R = rotation_of_quaternion(np.array(numbers[1:5]), path)
    cam_T_world = np.eye(4)
    cam_T_world[:3, :3], cam_T_world[:3, 3] = R, -R @ numbers[5:8]
    lens = {"f": numbers[0], "cx": size[0] / 2, "cy": size[1] / 2, "k": numbers[8]}
    if fixed:  # fx cx fy cy, and r
        lens |= dict(zip(("fx", "cx", "fy", "cy"), fixed[:4], strict=True))
    return PosedPhoto(name, make_lens(lens, size, "measured_radial", path), check_pose(cam_T_world, path))


def _nvm_points(lines: list[str], count: int) -> Iterator[_Point]:
    """Points of a line: x y z, a colour, a count and image, feature, x, y for every photo."""
    for k in range(count):
        words = lines[k].split()
        if len(words) < 7 or len(words) != 7 + 4 * int(words[6]):
            raise ValueError(f"point {k} is cut off")
        yield [float(word) for word in words[:3]], [int(word) for word in words[7::4]]


# ---------------------------------------------------------------- both


def _image_size(name: str, photos: PhotoFolders, path: PathLike, remarks: Remarks) -> tuple[int, int] | None:
    image = photos.find(name)
    try:
        if image is None:
            raise DataError(f"{name} is not there")
        return read_image_size(image)
    except DataError as error:
        remarks.leave_out(f"{path}: is read together with its images, but {error}")
        return None


def _scene(photos: list[PosedPhoto], place: dict[int, int], points: Iterator[_Point], path: PathLike) -> PosedPhotos:
    """The scene of photos, whose places by the file's numbers are given, and points."""
    xyz, tracks = [], []
    for k, (point, seen_in) in enumerate(points):
        xyz.append(point)
        tracks += [(k, place[photo]) for photo in seen_in if photo in place]
    points = np.array(xyz, np.float64).reshape(-1, 3)
    tracks = np.array(tracks, np.int64).reshape(-1, 2)
    good = usable_numbers(points).all(axis=1)
    return posed_photos(photos, np.where(good[:, None], points, 0), tracks[good[tracks[:, 0]]], path)
