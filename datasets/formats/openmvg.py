"""Reading scenes of OpenMVG (`sfm_data.json`) and of Meshroom (`cameras.sfm`, `.sfm` as JSON); docs/formats.md."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from datasets.files import DataError, PathLike, read_json, reason
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

_BROKEN = (KeyError, TypeError, ValueError, OverflowError, IndexError, AttributeError)

# Camera types by their names in either program: the names of their coefficients, and the model of
# datasets.photos.distortion.
_TYPES = {
    "pinhole": ((), "opencv"),
    "none": ((), "opencv"),
    "pinhole_radial_k1": (("k1",), "opencv"),
    "pinhole_radial_k3": (("k1", "k2", "k3"), "opencv"),
    "pinhole_brown_t2": (("k1", "k2", "k3", "p1", "p2"), "opencv"),
    "radial1": (("k1",), "opencv"),
    "radialk1": (("k1",), "opencv"),
    "radial3": (("k1", "k2", "k3"), "opencv"),
    "radialk3": (("k1", "k2", "k3"), "opencv"),
    "brown": (("k1", "k2", "k3", "p1", "p2"), "opencv"),
    "fisheye": (("k1", "k2", "k3", "k4"), "fisheye"),
    "fisheye4": (("k1", "k2", "k3", "k4"), "fisheye"),
    "equidistant": (("k1", "k2", "k3"), "fisheye"),
}
_FIRST_USE = 1 << 31  # cereal marks a type's number so where it gives the name, too


def read_openmvg(path: PathLike, remarks: Remarks = Remarks()) -> PosedPhotos:
    """Read `sfm_data.json`; views without a pose or intrinsics are left out."""
    content = read_json(path)
    try:
        lenses = _openmvg_lenses(content["intrinsics"], path)
        poses = {entry["key"]: entry["value"] for entry in content["extrinsics"]}
        photos, place = [], {}
        for entry in content["views"]:
            data = entry["value"]["ptr_wrapper"]["data"]
            name = check_photo_name(f"{data.get('local_path', '')}/{data['filename']}".lstrip("/"), path)
            if data["id_pose"] not in poses or data["id_intrinsic"] not in lenses:
                remarks.leave_out(f"{path}: {name} has no pose or no camera")
                continue
            pose = poses[data["id_pose"]]
            cam_T_world = _pose(np.array(pose["rotation"], np.float64), np.array(pose["center"], np.float64), path)
            place[data["id_view"]] = len(photos)
            photos.append(PosedPhoto(name, lenses[data["id_intrinsic"]], cam_T_world))
        points = [(entry["value"]["X"], entry["value"]["observations"]) for entry in content.get("structure") or ()]
        return _scene(photos, place, ((xyz, [o["key"] for o in seen]) for xyz, seen in points), path)
    except _BROKEN as error:
        raise DataError(f"{path}: is damaged or no sfm_data.json ({reason(error)!a}); export it again") from None


def _openmvg_lenses(intrinsics: list[Mapping[str, Any]], path: PathLike) -> dict[Any, Lens]:
    """The lenses by their numbers. Only the first of a type bears its name; later ones the type's number."""
    names: dict[int, str] = {}
    lenses = {}
    for entry in intrinsics:
        value = entry["value"]
        number = int(value["polymorphic_id"]) % _FIRST_USE
        name = names.setdefault(number, str(value.get("polymorphic_name", "")))
        data = value["ptr_wrapper"]["data"]
        data = {**data.get("value0", {}), **data}  # of the type that it is derived from
        if name not in _TYPES:
            raise _not_supported(name, [], path)
        coefficients = next((v for k, v in data.items() if k.startswith("disto") or k == "fisheye"), [])
        centre = data["principal_point"]
        focal = float(data["focal_length"])
        numbers = {"fx": focal, "fy": focal, "cx": float(centre[0]), "cy": float(centre[1])}
        lenses[entry["key"]] = _lens(name, coefficients, numbers, (int(data["width"]), int(data["height"])), path)
    return lenses


def _lens(
    kind: str, coefficients: Iterable[Any], numbers: dict[str, float], size: tuple[int, int], path: PathLike
) -> Lens:
    """The lens of a type of camera with its coefficients."""
    values = [float(value) for value in coefficients]
    if kind not in _TYPES or (len(values) != len(_TYPES[kind][0]) and any(values)):
        raise _not_supported(kind, values, path)
    names, model = _TYPES[kind]
    return make_lens(numbers | dict(zip(names, values, strict=False)), size, model, path)


def _not_supported(kind: str, values: list[float], path: PathLike) -> DataError:
    return DataError(
        f"{path}: camera type {kind[:30]!a} with {len(values)} coefficients is not supported; export undistorted photos"
    )


def _pose(rotation: np.ndarray, centre: np.ndarray, path: PathLike) -> np.ndarray:
    """cam_T_world of a rotation to the camera's axes and the camera's place."""
    check_numbers(rotation, path)
    check_numbers(centre, path)
    cam_T_world = np.eye(4)
    cam_T_world[:3, :3], cam_T_world[:3, 3] = rotation, -rotation @ centre
    return check_pose(cam_T_world, path)


# ---------------------------------------------------------------- Meshroom


def read_meshroom(path: PathLike, remarks: Remarks = Remarks()) -> PosedPhotos:
    """Read `cameras.sfm` or another `.sfm` of AliceVision as JSON; views without a pose are left out."""
    content = read_json(path)
    if isinstance(content, dict) and "poses" not in content and "views" in content:
        raise DataError(f"{path}: holds no poses; give the file that Meshroom's node StructureFromMotion writes")
    try:
        if content.get("rigs"):
            raise DataError(f"{path}: holds rigs of cameras, which are not supported; export the scene as COLMAP")
        lenses = {entry["intrinsicId"]: _meshroom_lens(entry, path) for entry in content["intrinsics"]}
        poses = {entry["poseId"]: entry["pose"]["transform"] for entry in content["poses"]}
        photos, place = [], {}
        for view in content["views"]:
            name = check_photo_name(view["path"], path)
            pose = poses.get(view.get("poseId", view["viewId"]))
            if pose is None or view["intrinsicId"] not in lenses:
                remarks.leave_out(f"{path}: {name} has no pose or no camera")
                continue
            # Eigen's matrices are written column after column.
            rotation = np.array([float(value) for value in pose["rotation"]]).reshape(3, 3).T
            centre = np.array([float(value) for value in pose["center"]])
            place[view["viewId"]] = len(photos)
            photos.append(PosedPhoto(name, lenses[view["intrinsicId"]], _pose(rotation, centre, path)))
        points = [(entry["X"], entry.get("observations") or ()) for entry in content.get("structure") or ()]
        seen = (([float(v) for v in xyz], [o["observationId"] for o in track]) for xyz, track in points)
        return _scene(photos, place, seen, path)
    except _BROKEN as error:
        raise DataError(f"{path}: is damaged or no .sfm file as JSON ({reason(error)!a}); export it again") from None


def _meshroom_lens(entry: Mapping[str, Any], path: PathLike) -> Lens:
    """The lens of an intrinsic: its focal length in pixels, or in mm with the sensor's width.

    Newer files give the principal point from the image's middle, older ones from its corner.
    """
    size = int(entry["width"]), int(entry["height"])
    kind = str(entry.get("distortionType") or entry["type"])
    if entry["type"] == "equidistant":
        kind = "equidistant"
    ratio, undistortion = float(entry.get("pixelRatio", 1)), entry.get("undistortionType", "none")
    if abs(ratio - 1) > 1e-6 or undistortion not in ("none", ""):
        raise DataError(f"{path}: a camera has pixels that are not square, or an undistortion, which is not supported")
    if "pxFocalLength" in entry:
        pixels = entry["pxFocalLength"]
        fx, fy = (float(v) for v in pixels) if isinstance(pixels, list) else (float(pixels),) * 2
    else:
        fx = fy = float(entry["focalLength"]) / float(entry["sensorWidth"]) * max(size)
    centre = np.array([float(value) for value in entry["principalPoint"]])
    if (np.abs(centre) < np.array(size) / 4).all():
        centre = centre + np.array(size) / 2
    numbers = {"fx": fx, "fy": fy, "cx": float(centre[0]), "cy": float(centre[1])}
    return _lens(kind, entry.get("distortionParams") or (), numbers, size, path)


# ---------------------------------------------------------------- both


def _scene(
    photos: list[PosedPhoto], place: dict[Any, int], points: Iterable[tuple[list[float], list[Any]]], path: PathLike
) -> PosedPhotos:
    """The scene of photos, whose places by the file's numbers are given, and points with the numbers that see them."""
    xyz, tracks = [], []
    for k, (point, seen) in enumerate(points):
        x, y, z = (float(value) for value in point)
        xyz.append((x, y, z))
        tracks += [(k, place[number]) for number in seen if number in place]
    points, tracks = np.array(xyz, np.float64).reshape(-1, 3), np.array(tracks, np.int64).reshape(-1, 2)
    good = usable_numbers(points).all(axis=1)
    return posed_photos(photos, np.where(good[:, None], points, 0), tracks[good[tracks[:, 0]]], path)
