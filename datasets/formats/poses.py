"""Reading poses that come without points: NeRF's `transforms.json` and Middlebury's `*_par.txt`.

Both name images relative to their own folder.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datasets.files import DataError, PathLike, read_json, read_text, reason
from datasets.formats.images import read_image_size
from datasets.photos.posed import Lens, PosedPhoto, PosedPhotos, check_photo_name, check_pose, make_lens, without_tracks

# ---------------------------------------------------------------- transforms.json

_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".JPG", ".PNG")
_PINHOLES, _FISHEYE = ("PINHOLE", "SIMPLE_PINHOLE", "OPENCV"), "OPENCV_FISHEYE"
_DISTORTION = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")

# OpenGL's camera looks along -z with y up, the camera of this project along z with y down.
_GL_T_CAM = np.diag([1.0, -1.0, -1.0, 1.0])


def read_transforms(path: PathLike) -> PosedPhotos:
    """Read `transforms.json` as instant-ngp, Nerfstudio and Blender's NeRF scenes have it.

    A frame's own intrinsics go before the file's. Raises DataError where something is missing or impossible.
    """
    content = read_json(path)
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise DataError(f"{path}: has no list of frames; is it a NeRF-style transforms.json?")
    try:
        return without_tracks([_frame({**content, **frame}, path) for frame in frames], path)
    except (KeyError, TypeError, ValueError, OverflowError, np.linalg.LinAlgError) as error:
        raise DataError(f"{path}: a number or name is missing or not one ({reason(error)!a})") from None


def _frame(frame: Mapping[str, Any], path: PathLike) -> PosedPhoto:
    """The photo of a frame, with the file's entries."""
    name = frame["file_path"]
    if not isinstance(name, str):
        raise DataError(f"{path}: a frame's file_path is not a name")
    name = check_photo_name(name, path)
    folder = Path(path).parent
    name = next((name + suffix for suffix in _SUFFIXES if (folder / (name + suffix)).is_file()), name)
    world_T_gl = np.array(frame["transform_matrix"], np.float64)
    if world_T_gl.shape not in ((4, 4), (3, 4)):
        raise DataError(f"{path}: a transform_matrix is not 4x4")
    pose = np.eye(4)
    pose[:3] = check_pose(np.vstack([world_T_gl[:3], [0, 0, 0, 1]]), path)[:3]
    return PosedPhoto(name, _frame_lens(frame, folder / name, path), np.linalg.inv(pose @ _GL_T_CAM))


def _frame_lens(frame: Mapping[str, Any], image: Path, path: PathLike) -> Lens:
    """The lens of a frame; where no size is given, the image's header tells."""
    model = frame.get("camera_model", "OPENCV")
    if model != _FISHEYE and model not in _PINHOLES:
        raise DataError(f"{path}: camera_model {str(model)[:30]!a} is not supported; undistort the photos first")
    if "w" in frame and "h" in frame:
        size = int(frame["w"]), int(frame["h"])
    else:
        try:
            size = read_image_size(image)
        except DataError as error:
            raise DataError(f"{path}: gives no w and h, and {error}") from None
    numbers = {name: float(frame.get(name, 0)) for name in _DISTORTION}
    numbers["cx"], numbers["cy"] = (float(frame.get(n, s / 2)) for n, s in zip(("cx", "cy"), size, strict=True))
    numbers["fx"] = _focal(frame, "x", size[0])
    has_own = "fl_y" in frame or "camera_angle_y" in frame
    numbers["fy"] = _focal(frame, "y", size[1]) if has_own else numbers["fx"]
    return make_lens(numbers, size, model == _FISHEYE, path)


def _focal(frame: Mapping[str, Any], axis: str, side: int) -> float:
    """The focal length along an axis, in pixels: as it is, or from the angle of view."""
    if f"fl_{axis}" in frame:
        return float(frame[f"fl_{axis}"])
    angle = float(frame[f"camera_angle_{axis}"])
    if not 0 < angle < math.pi:
        raise ValueError(f"camera_angle_{axis} is {angle:g}")
    return side / 2 / math.tan(angle / 2)


# ---------------------------------------------------------------- Middlebury


def read_middlebury(path: PathLike) -> PosedPhotos:
    """Read a `*_par.txt` of Middlebury's multi-view data: a count, then per image its name, K, R and t, row by row.

    Sizes come from the images' headers, so that these have to be there.
    """
    lines = [line.split() for line in read_text(path).split("\n") if line.strip()]
    try:
        count = int(lines[0][0])
        if len(lines) - 1 != count:
            raise ValueError(f"{count} images are announced, {len(lines) - 1} listed")
        photos = [_par_line(words, path) for words in lines[1:]]
    except (ValueError, IndexError, OverflowError) as error:
        raise DataError(f"{path}: is damaged or no Middlebury file of cameras ({reason(error)!a})") from None
    return without_tracks(photos, path)


def _par_line(words: list[str], path: PathLike) -> PosedPhoto:
    """The photo of a line; its pixels are counted with the first one's centre at 0."""
    name, numbers = check_photo_name(words[0], path), np.array([float(word) for word in words[1:]])
    if len(numbers) != 21:
        raise ValueError(f"{words[0][:40]!r} has {len(numbers)} numbers instead of 21")
    K, cam_T_world = numbers[:9].reshape(3, 3), np.eye(4)
    cam_T_world[:3] = np.hstack([numbers[9:18].reshape(3, 3), numbers[18:, None]])
    if abs(K[0, 1]) > 1e-3 * abs(K[0, 0]) or K[1, 0] or np.abs(K[2] - (0, 0, 1)).max() > 1e-6:
        raise DataError(f"{path}: {name} has a skewed K, or its last row is not 0 0 1")
    try:
        size = read_image_size(Path(path).parent / name)
    except DataError as error:
        raise DataError(f"{path}: is read together with its images, but {error}") from None
    lens = make_lens({"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2] + 0.5, "cy": K[1, 2] + 0.5}, size, False, path)
    return PosedPhoto(name, lens, check_pose(cam_T_world, path))
