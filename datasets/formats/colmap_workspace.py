"""Writing COLMAP's dense workspace: a sparse model as text, depth and normal maps.

    images/<name>                      the pictures, without distortion
    sparse/cameras.txt, images.txt, points3D.txt
    stereo/depth_maps/<name>.photometric.bin, <name>.geometric.bin
    stereo/normal_maps/<name>.photometric.bin, <name>.geometric.bin
    stereo/patch-match.cfg             per picture two lines: its name, and the names of its sources
    stereo/fusion.cfg                  names of the pictures to fuse

A map begins with the ASCII text `width&height&channels&`; then come float32 in little-endian order, one channel after
the other, each row by row from the top. A depth of 0 is unknown; normals are in the camera's axes, towards the camera.

Intrinsics are written as they are, with pixel centres at integers: so COLMAP's dense programs take depth maps, and its
fusion gives the very points of the depth maps (with 0.5 added, half a pixel beside them). COLMAP's sparse programs put
the centres at halves; whoever reads sparse/ for those adds 0.5 to the principal points.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from datasets.camera import Camera
from datasets.files import DataError, PathLike, write_bytes

# How far a camera file's rotation may be from one; float32 and few digits are common.
_ROTATION_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class ModelImage:
    """A picture of a model: its file name, camera and (width, height)."""

    name: str
    camera: Camera
    size: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class ModelPoints:
    """Points of a model: xyz [N, 3] world, colors [N, 3] uint8, and seen [N, images] bool, which images see each."""

    xyz: np.ndarray
    colors: np.ndarray
    seen: np.ndarray


def write_map(path: PathLike, values: np.ndarray) -> None:
    """Write a depth map [H, W] or a normal map [H, W, 3] in COLMAP's format."""
    planes = values[None] if values.ndim == 2 else np.moveaxis(values, 2, 0)
    channels, height, width = planes.shape
    header = f"{width}&{height}&{channels}&".encode()
    write_bytes(path, header, np.ascontiguousarray(planes, "<f4").tobytes())


def write_model(folder: Path, images: Sequence[ModelImage], points: ModelPoints) -> None:
    """Write cameras.txt, images.txt and points3D.txt; numbered from 1, each image with a PINHOLE camera of its own.

    Raises DataError for cameras that COLMAP cannot describe: with skew, or with axes that are not at right angles.
    """
    places = [_project(image, points.xyz) for image in images]
    cameras, listed = [], []
    for number, image in enumerate(images, 1):
        K = image.camera.K
        if abs(K[0, 1]) > 1e-6 * abs(K[0, 0]) or K[0, 0] <= 0 or K[1, 1] <= 0:
            raise DataError(
                f"{image.name}: its camera has skew or a negative focal length, which COLMAP cannot describe"
            )
        cameras.append(f"{number} PINHOLE {_words(image.size)} {_words([K[0, 0], K[1, 1], *K[:2, 2]])}")
        seen = np.flatnonzero(points.seen[:, number - 1])
        sights = " ".join(f"{x:.3f} {y:.3f} {i + 1}" for i, (x, y) in zip(seen, places[number - 1][seen], strict=True))
        listed += [f"{number} {_words(_pose(image))} {number} {image.name}", sights]
    _write_lines(folder / "cameras.txt", cameras)
    _write_lines(folder / "images.txt", listed)
    _write_lines(folder / "points3D.txt", _point_lines(points))


def _point_lines(points: ModelPoints) -> list[str]:
    """Per point: number, place, colour, error, and its track of (image, index of its sight in that image)."""
    sight = np.cumsum(points.seen, axis=0) - 1
    lines = []
    for i, (xyz, color, seen) in enumerate(zip(points.xyz, points.colors, points.seen, strict=True)):
        track = [number for image in np.flatnonzero(seen) for number in (image + 1, sight[i, image])]
        lines.append(f"{i + 1} {_words(xyz)} {_words(color)} 0 {_words(track)}")
    return lines


def _pose(image: ModelImage) -> np.ndarray:
    """Quaternion (w, x, y, z) and translation that take world points to the camera."""
    R = image.camera.cam_T_world[:3, :3]
    if np.abs(R @ R.T - np.eye(3)).max() > _ROTATION_TOLERANCE or np.linalg.det(R) < 0:
        raise DataError(f"{image.name}: its camera's extrinsic is no rotation and translation, which COLMAP needs")
    x, y, z, w = Rotation.from_matrix(R).as_quat()
    return np.array([w, x, y, z, *image.camera.cam_T_world[:3, 3]])


def _project(image: ModelImage, xyz: np.ndarray) -> np.ndarray:
    """Where the image shows points [N, 3]: pixels [N, 2]."""
    u, v, _ = image.camera.project(xyz)
    return np.stack([u, v], axis=1)


def _words(values: Sequence[float] | np.ndarray) -> str:
    """Numbers with all their digits."""
    return " ".join(repr(value) for value in np.asarray(values).tolist())


def write_configs(folder: Path, sources: dict[str, list[str]]) -> None:
    """Write stereo/patch-match.cfg and stereo/fusion.cfg for images and the names of their sources."""
    lines = [line for name, names in sources.items() for line in (name, ", ".join(names) or "__auto__, 20")]
    _write_lines(folder / "patch-match.cfg", lines)
    _write_lines(folder / "fusion.cfg", list(sources))


def _write_lines(path: Path, lines: list[str]) -> None:
    write_bytes(path, "".join(f"{line}\n" for line in lines).encode())
