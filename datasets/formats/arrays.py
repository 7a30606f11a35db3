"""Reading poses that are kept as NumPy arrays: LLFF's `poses_bounds.npy` and NeuS's `cameras_sphere.npz`.

Both name no photos: the photos are those of the folder, in the order of their names (docs/formats.md).
"""

import io
import math
import re
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from datasets.files import DataError, PathLike, read_bytes, reason
from datasets.formats.images import read_image_size
from datasets.photos.folders import PhotoFolders
from datasets.photos.posed import PosedPhoto, PosedPhotos, check_numbers, check_pose, make_lens, without_tracks
from datasets.photos.remarks import Remarks

_BROKEN = (ValueError, KeyError, IndexError, OverflowError, EOFError, TypeError, np.linalg.LinAlgError)
_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_LONGEST_HEADER = 2000  # characters
_LARGEST_MATRIX = 4096  # bytes of an entry of a .npz: 16 numbers and a header

_LEAST_DETERMINANT = 1e-12

# LLFF's axes are down, right and backwards.
_LLFF_T_CAM = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]])


def read_npy(content: bytes) -> np.ndarray:
    """An array of numbers from the content of a `.npy` file; raises ValueError unless its size is what it claims."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in _READ_HEADER:
        raise ValueError(f"it is of version {version}")
    try:
        shape, fortran, dtype = _READ_HEADER[version](file, max_header_size=_LONGEST_HEADER)
    except (SyntaxError, tokenize.TokenError, TypeError, MemoryError, RecursionError) as error:  # of Python's parser
        raise ValueError(f"its header is damaged ({reason(error)})") from None
    data = content[file.tell() :]
    if dtype.kind not in "fiu" or min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"it claims {shape} numbers of type {dtype}, but holds {len(data)} bytes")
    with np.errstate(all="ignore"):
        return np.frombuffer(data, dtype).astype(np.float64).reshape(shape, order="F" if fortran else "C")


def read_poses_bounds(path: PathLike, photos: PhotoFolders, remarks: Remarks = Remarks()) -> PosedPhotos:
    """Read `poses_bounds.npy`, [N, 17]: per photo a 3x5 matrix [R | t | height, width, focal], nearest and farthest."""
    try:
        rows = read_npy(read_bytes(path))
        if rows.ndim != 2 or rows.shape[1] != 17:
            raise ValueError(f"its shape is {rows.shape}, not N x 17")
        check_numbers(rows, path)
        names = _names(path, photos, len(rows))
        found = []
        for row, name in zip(rows, names, strict=True):
            matrix = row[:15].reshape(3, 5)
            height, width, focal = matrix[:, 4]
            world_T_cam = np.eye(4)
            world_T_cam[:3, :3], world_T_cam[:3, 3] = matrix[:, :3] @ _LLFF_T_CAM, matrix[:, 3]
            size = int(width), int(height)
            lens = make_lens({"f": focal, "cx": size[0] / 2, "cy": size[1] / 2}, size, "opencv", path)
            found.append(PosedPhoto(name, lens, np.linalg.inv(check_pose(world_T_cam, path))))
    except _BROKEN as error:
        raise DataError(f"{path}: is damaged or no poses_bounds.npy ({reason(error)!a})") from None
    near, far = rows[:, 15], rows[:, 16]
    usable = ((near > 0) & (far > near)).all()
    ranges = list(zip(near.tolist(), far.tolist(), strict=True)) if usable else None
    if not usable:
        remarks.say(f"{path}: its bounds are not positive or not in order, and are not used")
    return without_tracks(found, path, ranges=ranges)


def _names(path: PathLike, photos: PhotoFolders, count: int) -> list[str]:
    names = [image.name for image in photos.listing()]
    if len(names) != count:
        raise DataError(
            f"{path}: has poses of {count} photos, but {photos} holds {len(names)}; say with --images where"
        )
    return names


def read_neus(path: PathLike, photos: PhotoFolders, remarks: Remarks = Remarks()) -> PosedPhotos:
    """Read `cameras_sphere.npz` or `cameras.npz`: per photo world_mat_<i> = K [R | t] and scale_mat_<i>, a sphere.

    The sphere holds the object: depth ranges reach from its near side to its far side.
    """
    try:
        matrices = _matrices(read_bytes(path))
        numbers = sorted(int(name[10:]) for name in matrices if name.startswith("world_mat_"))
        names = _names(path, photos, len(numbers))
        files = dict(zip(names, photos.listing(), strict=True))
        found, ranges = [], []
        for number, name in zip(numbers, names, strict=True):
            K, cam_T_world = _decomposed(matrices[f"world_mat_{number}"][:3, :4], path)
            lens = make_lens(
                {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]},
                read_image_size(files[name]),
                "opencv",
                path,
            )
            found.append(PosedPhoto(name, lens, check_pose(cam_T_world, path)))
            ranges.append(_sphere_range(matrices.get(f"scale_mat_{number}"), found[-1]))
    except _BROKEN as error:
        raise DataError(f"{path}: is damaged or no cameras_sphere.npz ({reason(error)!a})") from None
    if not all(ranges):
        remarks.say(f"{path}: lacks a sphere (scale_mat), or has cameras inside of it; depths come from the cameras")
    return without_tracks(found, path, ranges=ranges if all(ranges) else None)


def _matrices(content: bytes) -> dict[str, np.ndarray]:
    """The matrices of a `.npz` by their names, none larger than a matrix needs."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            wanted = [i for i in archive.infolist() if re.fullmatch(r"(world|scale)_mat_\d{1,8}\.npy", i.filename)]
            found = {}
            for info in wanted:
                with archive.open(info) as file:
                    found[Path(info.filename).stem] = read_npy(file.read(_LARGEST_MATRIX))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(reason(error)) from None
    for name, matrix in found.items():
        if matrix.shape not in ((4, 4), (3, 4)):
            raise ValueError(f"{name} is not 4x4")
    return found


def _decomposed(P: np.ndarray, path: PathLike) -> tuple[np.ndarray, np.ndarray]:
    """K [3, 3] and cam_T_world [4, 4] of a projection matrix [3, 4] = K [R | t]."""
    check_numbers(P, path)
    if abs(np.linalg.det(P[:, :3])) < _LEAST_DETERMINANT:
        raise ValueError("a camera's matrix cannot be inverted")
    flipped = np.eye(3)[::-1]
    Q, upper = np.linalg.qr((flipped @ P[:, :3]).T)
    K, R = flipped @ upper.T @ flipped, flipped @ Q.T
    signs = np.diag(np.sign(np.diag(K)))
    K, R = K @ signs, signs @ R
    if np.linalg.det(R) < 0:  # the matrix is known up to its sign
        R, P = -R, -P
    cam_T_world = np.eye(4)
    cam_T_world[:3, :3], cam_T_world[:3, 3] = R, np.linalg.inv(K) @ P[:, 3]
    K = K / K[2, 2]
    if abs(K[0, 1]) > 1e-3 * abs(K[0, 0]):
        raise ValueError("a camera has skew")
    return K, cam_T_world


def _sphere_range(scale: np.ndarray | None, photo: PosedPhoto) -> tuple[float, float] | None:
    """The depths of a sphere; None where there is none, or the camera is inside."""
    if scale is None:
        return None
    radius, middle = abs(float(scale[0, 0])), scale[:3, 3]
    depth = float(photo.cam_T_world[2, :3] @ middle + photo.cam_T_world[2, 3])
    return (depth - radius, depth + radius) if 0 < radius < depth else None
