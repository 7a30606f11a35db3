"""Small COLMAP models in both formats, and one from the cameras of a scan in the test layout."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.formats.images import read_image_size
from datasets.io import read_camera

MODEL_NUMBERS = {
    "SIMPLE_PINHOLE": 0,
    "PINHOLE": 1,
    "SIMPLE_RADIAL": 2,
    "RADIAL": 3,
    "OPENCV": 4,
    "OPENCV_FISHEYE": 5,
    "FULL_OPENCV": 6,
    "FOV": 7,
    "SIMPLE_RADIAL_FISHEYE": 8,
    "RADIAL_FISHEYE": 9,
    "THIN_PRISM_FISHEYE": 10,
    "RAD_TAN_THIN_PRISM_FISHEYE": 11,
    "SIMPLE_DIVISION": 12,
    "DIVISION": 13,
    "SIMPLE_FISHEYE": 14,
    "FISHEYE": 15,
    "EUCM": 16,
    "EQUIRECTANGULAR": 17,
}


class Camera(NamedTuple):
    """A camera: its model's name, (width, height), parameters."""

    model: str
    size: tuple[int, int]
    parameters: Sequence[float]


class Image(NamedTuple):
    """An image: its name, its camera's number, its pose."""

    name: str
    camera: int
    cam_T_world: np.ndarray


class Model(NamedTuple):
    """A model: cameras and images by their numbers; points [P, 3]; the images' numbers of each point's track."""

    cameras: Mapping[int, Camera]
    images: Mapping[int, Image]
    points: np.ndarray
    tracks: Sequence[Sequence[int]]


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """(w, x, y, z) of a rotation [3, 3]: the null vector of what it must fulfil, which never divides by zero."""
    r = rotation
    K = np.array(
        [
            [r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [0, r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
            [0, 0, r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1]],
            [0, 0, 0, r[2, 2] - r[0, 0] - r[1, 1]],
        ]
    )
    return np.linalg.eigh(K, UPLO="U")[1][:, -1]


def write_model(folder: Path, model: Model, text: bool) -> Path:
    """Write a model; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write = {"cameras": _cameras, "images": _images, "points3D": _points}
    for name, make in write.items():
        content = make(model, text)
        (folder / f"{name}{'.txt' if text else '.bin'}").write_bytes(content)
    return folder


def _cameras(model: Model, text: bool) -> bytes:
    lines, data = "# Camera list\n", struct.pack("<Q", len(model.cameras))
    for number, (name, size, parameters) in model.cameras.items():
        lines += " ".join(map(str, (number, name, *size, *map(float, parameters)))) + "\n"
        data += struct.pack("<IiQQ", number, MODEL_NUMBERS[name], *size)
        data += struct.pack(f"<{len(parameters)}d", *parameters)
    return lines.encode() if text else data


def _images(model: Model, text: bool) -> bytes:
    lines, data = "# Image list\n", struct.pack("<Q", len(model.images))
    seen_in = {number: [] for number in model.images}
    for k, track in enumerate(model.tracks):
        for number in set(track) & seen_in.keys():
            seen_in[number].append(k)
    for number, (name, camera, cam_T_world) in model.images.items():
        pose = (*quaternion(cam_T_world[:3, :3]).tolist(), *cam_T_world[:3, 3].tolist())
        lines += " ".join(map(str, (number, *pose, camera, name))) + "\n"
        lines += " ".join(f"1.5 2.5 {k + 1}" for k in seen_in[number]) + "\n"
        data += (
            struct.pack("<I7dI", number, *pose, camera)
            + name.encode()
            + b"\0"
            + struct.pack("<Q", len(seen_in[number]))
        )
        data += b"".join(struct.pack("<2dQ", 1.5, 2.5, k + 1) for k in seen_in[number])
    return lines.encode() if text else data


def _points(model: Model, text: bool) -> bytes:
    lines, data = ["# 3D point list"], [struct.pack("<Q", len(model.points))]
    for k, (xyz, track) in enumerate(zip(model.points.tolist(), model.tracks, strict=True)):
        lines.append(" ".join(map(str, (k + 1, *xyz, 10, 20, 30, 0.5))) + "".join(f" {image} 0" for image in track))
        data.append(struct.pack("<Q3d3BdQ", k + 1, *xyz, 10, 20, 30, 0.5, len(track)))
        data.append(b"".join(struct.pack("<2I", image, 0) for image in track))
    return ("\n".join(lines) + "\n").encode() if text else b"".join(data)


def small_model(seed: int = 0) -> Model:
    """Two cameras, three images, some points; numbers are neither dense nor in order."""
    rng = np.random.default_rng(seed)
    images = {}
    for number, name in ((7, "b.jpg"), (3, "sub folder/a.jpg"), (9, "c.jpg")):
        cam_T_world = np.eye(4)
        cam_T_world[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        cam_T_world[:3, :3] *= np.sign(np.linalg.det(cam_T_world[:3, :3]))
        cam_T_world[:3, 3] = rng.normal(size=3)
        images[number] = Image(name, 5 if number == 9 else 2, cam_T_world)
    cameras = {
        2: Camera("SIMPLE_RADIAL", (64, 48), (60, 32, 24, 0.1)),
        5: Camera("PINHOLE", (80, 60), (70, 71, 40, 30)),
    }
    return Model(cameras, images, rng.normal(size=(5, 3)), [(7, 3), (3, 9, 7), (9,), (3, 9), (7, 7, 9)])


def model_of_scan(scan: Path, points: np.ndarray) -> Model:
    """The model of a scan in the test layout; a point is seen wherever it falls into an image."""
    cameras, images, inside = {}, {}, []
    for number, path in enumerate(sorted((scan / "cams").glob("*_cam.txt")), 1):
        camera = read_camera(path)
        name = f"{path.name[:8]}.jpg"
        size = read_image_size(scan / "images" / name)
        K = camera.K
        # COLMAP counts the first pixel's centre as 0.5.
        cameras[number] = Camera("PINHOLE", size, (K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5))
        images[number] = Image(name, number, camera.cam_T_world)
        u, v, z = K @ (camera.cam_T_world[:3, :3] @ points.T + camera.cam_T_world[:3, 3:])
        with np.errstate(divide="ignore", invalid="ignore"):
            inside.append((z > 0) & (u / z >= 0) & (v / z >= 0) & (u / z <= size[0] - 1) & (v / z <= size[1] - 1))
    tracks = [(np.flatnonzero(column) + 1).tolist() for column in np.array(inside).T]
    return Model(cameras, images, points, tracks)
