"""Reading cameras of Agisoft Metashape ("Export Cameras", XML) and Strecha's `.camera` files; docs/formats.md."""

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from datasets.files import DataError, PathLike, list_folder, read_bytes, read_text, reason
from datasets.photos.posed import (
    Lens,
    PosedPhoto,
    PosedPhotos,
    ScaledPoses,
    check_photo_name,
    check_pose,
    make_lens,
    without_tracks,
)
from datasets.photos.remarks import Remarks

_BROKEN = (ElementTree.ParseError, LookupError, ValueError, TypeError, OverflowError, AttributeError)

# What is understood of a calibration; p3, p4, b2 and others must be 0.
_CALIBRATION = ("f", "fx", "fy", "cx", "cy", "b1", "k1", "k2", "k3", "k4", "p1", "p2")


def read_metashape(path: PathLike, remarks: Remarks = Remarks()) -> PosedPhotos:
    """Read the cameras of an XML file, of the chunk and component of the most; those that have no pose, or are
    disabled, are left out, and so are the points.

    World units are those of the chunk's or component's transform where it has one (metres, as a rule); its place on the
    Earth is left.
    """
    content = read_bytes(path)
    # Entities could expand to any size; Metashape writes none.
    if b"<!" in content.replace(b"<!--", b""):
        raise DataError(f"{path}: has declarations that no file of Metashape has; export the cameras again")
    try:
        root = ElementTree.fromstring(content)
        chunks = root.findall("chunk")
        if root.tag != "document" or not chunks:
            raise ValueError("it has no chunk")
        chunk = max(chunks, key=lambda chunk: len(_posed(chunk)))
        if len(chunks) > 1:
            others = ", ".join(other.get("label", "")[:40] for other in chunks if other is not chunk)
            remarks.say(f"{path}: the chunk {chunk.get('label', '')[:40]!a} is read; also there, not used: {others!a}")
        lenses = {sensor.get("id"): sensor for sensor in chunk.iterfind("sensors/sensor")}
        component, scale = _largest_component(chunk)
        poses, photos, made = ScaledPoses(path, remarks), [], {}
        for camera in chunk.iterfind("cameras//camera"):
            transform, name = camera.findtext("transform"), check_photo_name(camera.get("label") or "", path)
            number = camera.get("sensor_id")
            problem = _unused(camera, lenses, component)
            if problem:
                remarks.leave_out(f"{path}: {name} {problem}")
                continue
            if number not in made:
                made[number] = _metashape_lens(lenses[number], path)
            world_T_cam = poses.world_T_cam(np.array([float(w) for w in transform.split()]).reshape(4, 4))
            world_T_cam[:3, 3] *= scale
            photos.append(PosedPhoto(name, made[number], np.linalg.inv(check_pose(world_T_cam, path))))
        return without_tracks(photos, path)
    except _BROKEN as error:
        raise DataError(f"{path}: is damaged or no cameras of Metashape ({reason(error)!a})") from None


def _posed(chunk: Element) -> list[Element]:
    """The cameras that have a pose."""
    return [camera for camera in chunk.iterfind("cameras//camera") if camera.find("transform") is not None]


def _largest_component(chunk: Element) -> tuple[str | None, float]:
    """The number of the component of the most posed cameras, None where there are no components; world units per unit.

    Cameras of different components are not placed towards each other.
    """
    posed = [camera.get("component_id") for camera in _posed(chunk)]
    number = max(posed, key=posed.count, default=None)
    scales = {c.get("id"): c.findtext("transform/scale") for c in chunk.iterfind("components/component")}
    return number, float(scales.get(number) or chunk.findtext("transform/scale") or 1)


def _unused(camera: Element, lenses: Mapping[str | None, Element], component: str | None) -> str:
    """Why a camera is not used; "" where it is."""
    if camera.find("transform") is None or camera.get("sensor_id") not in lenses:
        return "has no pose or no sensor"
    if camera.get("enabled", "true").lower() in ("false", "0"):
        return "is disabled"
    return "" if camera.get("component_id") == component else "is of another component"


def _metashape_lens(sensor: Element, path: PathLike) -> Lens:
    """The lens of a sensor: its adjusted calibration, with Metashape's names and order of coefficients."""
    found = sensor.findall("calibration")
    calibration = next((c for c in found if c.get("class") == "adjusted"), found[0] if found else None)
    if calibration is None:
        raise DataError(f"{path}: sensor {str(sensor.get('label'))[:30]!a} has no calibration; align the photos first")
    resolution = sensor.find("resolution")
    size = int(resolution.get("width")), int(resolution.get("height"))
    kind = str(calibration.get("type") or sensor.get("type"))
    items = [item for item in calibration if item.tag not in ("resolution", "date", "covariance")]
    given = {item.tag: float(item.text) for item in items if item.text and item.text.strip()}
    unknown = [name for name in given if name not in _CALIBRATION and given[name]]
    if kind not in ("frame", "fisheye") or unknown:
        what = f"the calibration's {unknown[0]}" if unknown else f"a sensor of type {kind[:20]!a}"
        raise DataError(f"{path}: {what} is not supported; export undistorted photos")
    f = given.get("f") or given["fx"]
    numbers = {name: given.get(name, 0.0) for name in ("k1", "k2", "k3", "k4")}
    numbers |= {"p1": given.get("p2", 0.0), "p2": given.get("p1", 0.0)}  # OpenCV's order is the other one
    numbers |= {"fx": given.get("fx", f + given.get("b1", 0.0)), "fy": given.get("fy", f)}
    for axis, side in zip(("cx", "cy"), size, strict=True):
        # f comes with principal points from the image's middle, fx and fy with those from its corner.
        numbers[axis] = given.get(axis, 0.0) + (side / 2 if "f" in given else 0)
    if kind == "fisheye":
        model = "thin_prism_fisheye" if numbers["p1"] or numbers["p2"] else "fisheye"
    else:
        model = "radial8" if numbers["k4"] else "opencv"
    return make_lens(numbers, size, model, path)


# ---------------------------------------------------------------- Strecha


def read_strecha(folder: PathLike, remarks: Remarks = Remarks()) -> PosedPhotos:
    """Read the `<image>.camera` files in a folder: K, a line of zeros, the rotation from camera to world, the camera's
    place, the image's width and height."""
    photos = []
    for name in list_folder(folder):
        if name.endswith(".camera"):
            try:
                photos.append(read_camera_file(Path(folder) / name))
            except DataError as error:
                remarks.leave_out(str(error))
    return without_tracks(photos, folder)


def read_camera_file(path: Path) -> PosedPhoto:
    """Read one `.camera` file."""
    try:
        numbers = np.array([float(word) for word in read_text(path).split(maxsplit=64)])
        if len(numbers) != 26:
            raise ValueError(f"it has {len(numbers)} numbers instead of 26")
        K, size = numbers[:9].reshape(3, 3), (int(numbers[24]), int(numbers[25]))
        if abs(K[0, 1]) > 1e-3 * abs(K[0, 0]) or numbers[9:12].any():
            raise ValueError("its K has skew, or it has distortion")
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path}: is damaged or no .camera file ({reason(error)!a})") from None
    world_T_cam = np.eye(4)
    world_T_cam[:3, :3], world_T_cam[:3, 3] = numbers[12:21].reshape(3, 3), numbers[21:24]
    lens = make_lens({"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}, size, "opencv", path)
    name = check_photo_name(path.name.removesuffix(".camera"), path)
    return PosedPhoto(name, lens, np.linalg.inv(check_pose(world_T_cam, path)))
