"""Reading poses that come without tracks: NeRF's `transforms.json` and Middlebury's `*_par.txt` (docs/formats.md)."""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datasets.files import DataError, PathLike, read_json, read_text, reason
from datasets.formats.images import read_image_size
from datasets.formats.ply import read_ply
from datasets.photos.folders import PhotoFolders
from datasets.photos.posed import (
    Lens,
    PosedPhoto,
    PosedPhotos,
    ScaledPoses,
    check_photo_name,
    check_pose,
    make_lens,
    usable_numbers,
    without_tracks,
)
from datasets.photos.remarks import Remarks

_NOT_NUMBERS = (KeyError, TypeError, ValueError, OverflowError, IndexError, np.linalg.LinAlgError)

# ---------------------------------------------------------------- transforms.json

# camera_model, in any spelling that programs use, to the model of datasets.photos.distortion.
_CAMERA_MODELS = {
    **dict.fromkeys(("PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "PERSPECTIVE"), "radial8"),
    **dict.fromkeys(
        ("OPENCV_FISHEYE", "FISHEYE", "SIMPLE_FISHEYE", "RADIAL_FISHEYE", "SIMPLE_RADIAL_FISHEYE"), "fisheye"
    ),
    "FULL_OPENCV": "opencv",
}
# Names of a focal length in pixels, of an angle of view in radians, and of one in degrees, along an axis.
_FOCAL, _RADIANS, _DEGREES = ("fl_{}", "f{}"), ("camera_angle_{}",), ("{}_fov", "fov_{}")
_MATRICES = ("K", "intrinsic_matrix", "intrinsics", "camera_intrinsics")
_POINTS = "ply_file_path"

# Other entries that do not change where a pixel looks to: what training of radiance fields needs.
_HARMLESS = re.compile(
    r"w|h|cx|cy|frames|file_path|transform_matrix|camera_model|is_fisheye|k[1-6]|p[12]|ply_file_path|aabb_scale|scale|"
    r"offset|from_na|sharpness|rotation|time|n_frames|up|applied_transform|applied_scale|colmap_im_id|mask_path|"
    r"mask_.*|depth_.*|integer_depth_scale|enable_.*|.*_filenames|orientation_override|auto_scale_poses_override|"
    r"render_aabb|(white|black)_transparent|near|far|exposure.*|timestamp|.*_id|name|label|bounds?|background.*"
)
# Words in names of entries that may well change it.
_GEOMETRY = re.compile(
    r"^[a-z]{1,2}\d$|fish|equirect|latlong|pano|spheric|shutter|crop|ortho|skew|shift|theta|lens|dist|tangential|radial|"
    r"fov|focal|angle|camera|model|matri|pose|proj|transform|intrinsic|extrinsic|rotat|translat|scale|resiz|convention|"
    r"^f[lxy]?$|^c[xy]_|width|height|coord|handed|flip|mirror|ax[ei]s|orient|_mts_",  # the last is Mitsuba's axes
    re.IGNORECASE,
)

# OpenGL's camera looks along -z with y up, the camera of this project along z with y down.
_GL_T_CAM = np.diag([1.0, -1.0, -1.0, 1.0])


def read_transforms(path: PathLike, photos: PhotoFolders | None = None, remarks: Remarks = Remarks()) -> PosedPhotos:
    """Read `transforms.json` as instant-ngp, Nerfstudio and Blender's NeRF scenes have it.

    A frame's own intrinsics go before the file's. `photos` is where sizes that are not given are read (the file's
    folder). Damaged frames are left out; raises DataError where something is missing or impossible, and for entries
    that may change where a pixel looks to and are not known.
    """
    content = read_json(path)
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise DataError(f"{path}: has no list of frames; is it a NeRF-style transforms.json?")
    _check_entries([content, *frames], path, remarks)
    photos, poses, found = photos or PhotoFolders((Path(path).parent,)), ScaledPoses(path, remarks), []
    for number, frame in enumerate(frames):
        try:
            found.append(_frame({**content, **frame}, path, photos, poses))
        except DataError as error:
            remarks.leave_out(f"{error} (frame {number})")
        except _NOT_NUMBERS as error:
            problem = f"a number or name is missing or not one ({reason(error)!a})"
            remarks.leave_out(f"{path}: frame {number} is damaged: {problem}")
    return without_tracks(found, path, _points(content, path, remarks))


def _check_entries(entries: Iterable[Mapping[str, Any]], path: PathLike, remarks: Remarks) -> None:
    """Raise DataError for an entry that is not known and may change the geometry; others are named."""
    ours = {name.format(axis) for name in (*_FOCAL, *_RADIANS, *_DEGREES) for axis in "xy"} | set(_MATRICES)
    unknown = {}
    for entry in entries:
        for name, value in entry.items():
            if name not in ours and not _HARMLESS.fullmatch(name) and _says_something(value):
                unknown.setdefault(name, value)
    for name, value in unknown.items():
        if _GEOMETRY.search(name):
            raise DataError(
                f"{path}: its entry {name[:40]!a} ({str(value)[:40]!a}) may change where pixels look to and is not "
                "known; undistort the photos first, or remove it if it does not matter"
            )
    if unknown:
        remarks.say(f"{path}: not known, and not used: {', '.join(name[:40] for name in list(unknown)[:8])!a}")


def _says_something(value: object) -> bool:
    """Whether a value is anything but nothing: None, False, zeros, an empty text or list."""
    if isinstance(value, list):
        return any(_says_something(item) for item in value[:100])
    return bool(value)


def _frame(frame: Mapping[str, Any], path: PathLike, photos: PhotoFolders, poses: ScaledPoses) -> PosedPhoto:
    """The photo of a frame, with the file's entries."""
    name = frame["file_path"]
    if not isinstance(name, str):
        raise DataError(f"{path}: a frame's file_path is not a name")
    name = check_photo_name(name, path)
    image = photos.find(name)
    if image is not None and not name.endswith(image.suffix):
        name += image.suffix  # Blender's scenes leave it out
    world_T_gl = np.array(frame["transform_matrix"], np.float64)
    if world_T_gl.shape not in ((4, 4), (3, 4)):
        raise DataError(f"{path}: a transform_matrix is not 4x4; write its rows")
    pose = poses.world_T_cam(world_T_gl)
    mask = frame.get("mask_path")
    mask = check_photo_name(mask, path) if isinstance(mask, str) and mask else ""
    return PosedPhoto(name, _frame_lens(frame, image, path), np.linalg.inv(pose @ _GL_T_CAM), mask)


def _frame_lens(frame: Mapping[str, Any], image: Path | None, path: PathLike) -> Lens:
    """The lens of a frame; where no size is given, the image's header tells."""
    size = _frame_size(frame, image, path)
    numbers = {name: float(frame.get(name, 0)) for name in ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")}
    model = _distortion_model(frame, numbers, path)
    matrix = next((frame[name] for name in _MATRICES if name in frame), None)
    if matrix is not None:
        numbers |= _matrix_numbers(np.array(matrix, np.float64), path)
    else:
        numbers |= {n: float(frame.get(n, s / 2)) for n, s in zip(("cx", "cy"), size, strict=True)}
        focal = [_focal(frame, axis, side) for axis, side in zip("xy", size, strict=True)]
        if focal == [None, None]:
            raise KeyError("fl_x, fx, x_fov, camera_angle_x or K")
        numbers["fx"], numbers["fy"] = (own or other for own, other in zip(focal, focal[::-1], strict=True))
    return make_lens(numbers, size, model, path)


def _frame_size(frame: Mapping[str, Any], image: Path | None, path: PathLike) -> tuple[int, int]:
    if "w" in frame and "h" in frame:
        return int(frame["w"]), int(frame["h"])
    if image is None:
        raise DataError(f"{path}: gives no w and h, and {str(frame['file_path'])[:60]!a} is not there to tell")
    try:
        return read_image_size(image)
    except DataError as error:
        raise DataError(f"{path}: gives no w and h, and {error}") from None


def _distortion_model(frame: Mapping[str, Any], numbers: dict[str, float], path: PathLike) -> str:
    """The model of datasets.photos.distortion. In OPENCV's k4 multiplies r^8, as Nerfstudio has it."""
    name = frame.get("camera_model", "OPENCV")
    model = _CAMERA_MODELS.get(name.upper()) if isinstance(name, str) else None
    if model is None:
        raise DataError(f"{path}: camera_model {str(name)[:30]!a} is not supported; undistort the photos first")
    if frame.get("is_fisheye"):
        if model == "opencv" or numbers["p1"] or numbers["p2"]:
            raise DataError(
                f"{path}: is_fisheye together with p1, p2 or FULL_OPENCV is not known; undistort the photos"
            )
        return "fisheye"
    if model == "radial8" and (numbers["k5"] or numbers["k6"]):
        raise DataError(
            f"{path}: k5 and k6 are only known of camera_model FULL_OPENCV; say so, or undistort the photos"
        )
    # Where k4 is 0 it is OpenCV's own model, which OpenCV undoes.
    return "opencv" if model == "radial8" and not numbers["k4"] else model


def _matrix_numbers(K: np.ndarray, path: PathLike) -> dict[str, float]:
    """fx, fy, cx, cy of an intrinsic matrix [3, 3] or [4, 4], of its numbers row by row, or of [fx, fy, cx, cy]."""
    if K.shape == (4,):
        return dict(zip(("fx", "fy", "cx", "cy"), K.tolist(), strict=True))
    if K.size in (9, 16):
        K = K.reshape((3, 3) if K.size == 9 else (4, 4))[:3, :3]
    if (
        K.shape != (3, 3)
        or abs(K[0, 1]) > 1e-3 * abs(K[0, 0])
        or np.abs(K[[1, 2, 2, 2], [0, 0, 1, 2]] - (0, 0, 0, 1)).max() > 1e-6
    ):
        raise DataError(f"{path}: an intrinsic matrix is not 3x3, has skew, or does not end with 0 0 1")
    return {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}


def _focal(frame: Mapping[str, Any], axis: str, side: int) -> float | None:
    """The focal length along an axis, in pixels: as it is, or from the angle of view; None where it is not given."""
    for name in (name.format(axis) for name in _FOCAL):
        if name in frame:
            return float(frame[name])
    for names, unit in ((_RADIANS, 1.0), (_DEGREES, math.pi / 180)):
        for name in (name.format(axis) for name in names):
            if name in frame:
                angle = float(frame[name]) * unit
                if not 0 < angle < math.pi:
                    raise ValueError(f"{name} is {frame[name]}")
                return side / 2 / math.tan(angle / 2)
    return None


def _points(content: Mapping[str, Any], path: PathLike, remarks: Remarks) -> np.ndarray | None:
    """The points [P, 3] of the cloud that the file names, which lies beside it; None where there is none."""
    name = content.get(_POINTS)
    if not isinstance(name, str) or not name:
        return None
    cloud = PhotoFolders((Path(path).parent,)).find(check_photo_name(name, path))
    if cloud is None:
        remarks.leave_out(f"{path}: its cloud of points {name[:60]!a} is not there")
        return None
    points = read_ply(cloud)[0].astype(np.float64)
    return points[usable_numbers(points).all(axis=1)]


# ---------------------------------------------------------------- Middlebury


def read_middlebury(path: PathLike, photos: PhotoFolders | None = None, remarks: Remarks = Remarks()) -> PosedPhotos:
    """Read a `*_par.txt` of Middlebury's multi-view data: a count, then per image its name, K, R and t, row by row.

    Sizes come from the images' headers, in `photos` (the file's folder); those that are not there are left out.
    """
    photos = photos or PhotoFolders((Path(path).parent,))
    lines = [line.split() for line in read_text(path).split("\n") if line.strip()]
    try:
        count = int(lines[0][0])
        if len(lines) - 1 != count:
            raise ValueError(f"{count} images are announced, {len(lines) - 1} listed")
        found = [photo for words in lines[1:] if (photo := _par_line(words, path, photos, remarks))]
    except (ValueError, IndexError, OverflowError) as error:
        raise DataError(f"{path}: is damaged or no Middlebury file of cameras ({reason(error)!a})") from None
    return without_tracks(found, path)


def _par_line(words: list[str], path: PathLike, photos: PhotoFolders, remarks: Remarks) -> PosedPhoto | None:
    """The photo of a line; its pixels are counted with the first one's centre at 0."""
    name, numbers = check_photo_name(words[0], path), np.array([float(word) for word in words[1:]])
    if len(numbers) != 21:
        raise ValueError(f"{words[0][:40]!r} has {len(numbers)} numbers instead of 21")
    K, cam_T_world = numbers[:9].reshape(3, 3), np.eye(4)
    cam_T_world[:3] = np.hstack([numbers[9:18].reshape(3, 3), numbers[18:, None]])
    if abs(K[0, 1]) > 1e-3 * abs(K[0, 0]) or K[1, 0] or np.abs(K[2] - (0, 0, 1)).max() > 1e-6:
        raise DataError(f"{path}: {name} has a skewed K, or its last row is not 0 0 1")
    try:
        size = read_image_size(photos.find(name) or Path(path).parent / name)
    except DataError as error:
        remarks.leave_out(f"{path}: is read together with its images, but {error}")
        return None
    numbers = {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2] + 0.5, "cy": K[1, 2] + 0.5}
    return PosedPhoto(name, make_lens(numbers, size, "opencv", path), check_pose(cam_T_world, path))
