"""One small scene in the formats of many programs: three posed photos, points, and the files that name them.

The photos are 64x48 with K of `F`, `CX`, `CY` (the first pixel's centre at 0.5); `POSES` are cam_T_world.
"""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from colmap_models import quaternion

from datasets.formats.images import write_image

SIZE, F, CX, CY = (64, 48), 60.0, 32.0, 24.0
NAMES = ("a.jpg", "b.jpg", "c.jpg")


def _pose(angle: float) -> np.ndarray:
    """A camera 5 from the origin, which it looks at."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s, 0], [0, 1, 0, 0.1], [-s, 0, c, 5], [0, 0, 0, 1]])


POSES = [_pose(angle) for angle in (0.0, 0.2, 0.4)]
POINTS = np.random.default_rng(0).uniform(-1, 1, (40, 3))
TRACKS = [(0, 1, 2)] * len(POINTS)

_K = np.array([[F, 0, CX], [0, F, CY], [0, 0, 1]])
_GL = np.diag([1.0, -1, -1, 1])


def write_photos(folder: Path) -> None:
    """The photos, of nothing."""
    for k, name in enumerate(NAMES):
        write_image(folder / name, np.full((SIZE[1], SIZE[0], 3), 40 * k + 40, np.uint8))


def words(values) -> str:
    """Numbers with all their digits."""
    return " ".join(repr(float(value)) for value in np.ravel(values))


def transforms_json(**entries) -> str:
    """A NeRF's scene with more entries."""
    frames = [
        {"file_path": f"images/{name}", "transform_matrix": (np.linalg.inv(pose) @ _GL).tolist()}
        for name, pose in zip(NAMES, POSES, strict=True)
    ]
    return json.dumps({"w": 64, "h": 48, "fl_x": F, "cx": CX, "cy": CY, "frames": frames, **entries})


def bundle_out() -> str:
    """Bundler's; its list is list.txt."""
    lines = ["# Bundle file v0.3", f"{len(POSES)} {len(POINTS)}"]
    for pose in POSES:
        flipped = _GL @ pose
        lines += [f"{F} 0 0", *(words(row) for row in flipped[:3, :3]), words(flipped[:3, 3])]
    for point, track in zip(POINTS, TRACKS, strict=True):
        lines += [words(point), "10 20 30", f"{len(track)} " + " ".join(f"{k} 0 1.5 2.5" for k in track)]
    return "\n".join(lines) + "\n"


def nvm() -> str:
    """VisualSFM's."""
    lines = ["NVM_V3 ", "", str(len(POSES))]
    for name, pose in zip(NAMES, POSES, strict=True):
        centre = -pose[:3, :3].T @ pose[:3, 3]
        lines.append(f"{name}\t{F} {words(quaternion(pose[:3, :3]))} {words(centre)} 0 0 ")
    lines += ["", str(len(POINTS))]
    for point, track in zip(POINTS, TRACKS, strict=True):
        lines.append(f"{words(point)} 10 20 30 {len(track)} " + " ".join(f"{k} 0 1.5 2.5" for k in track))
    return "\n".join([*lines, "", "0", ""])


def sfm_data_json() -> str:
    """OpenMVG's."""
    data = {"width": 64, "height": 48, "focal_length": F, "principal_point": [CX, CY], "disto_k3": [0.0, 0.0, 0.0]}
    intrinsic = {
        "polymorphic_id": (1 << 31) + 1,
        "polymorphic_name": "pinhole_radial_k3",
        "ptr_wrapper": {"id": 1, "data": data},
    }
    views, extrinsics = [], []
    for k, (name, pose) in enumerate(zip(NAMES, POSES, strict=True)):
        view = {
            "local_path": "",
            "filename": name,
            "width": 64,
            "height": 48,
            "id_view": k,
            "id_intrinsic": 0,
            "id_pose": k,
        }
        views.append({"key": k, "value": {"polymorphic_id": 1 << 30, "ptr_wrapper": {"id": k, "data": view}}})
        centre = -pose[:3, :3].T @ pose[:3, 3]
        extrinsics.append({"key": k, "value": {"rotation": pose[:3, :3].tolist(), "center": centre.tolist()}})
    structure = [
        {"key": i, "value": {"X": point.tolist(), "observations": [{"key": k, "value": {"x": [1, 2]}} for k in track]}}
        for i, (point, track) in enumerate(zip(POINTS, TRACKS, strict=True))
    ]
    content = {"sfm_data_version": "0.3", "root_path": "/home/me", "views": views}
    content |= {"intrinsics": [{"key": 0, "value": intrinsic}], "extrinsics": extrinsics, "structure": structure}
    return json.dumps(content)


def cameras_sfm() -> str:
    """Meshroom's."""
    intrinsic = {"intrinsicId": "7", "width": "64", "height": "48", "type": "radial3", "sensorWidth": "36"}
    intrinsic |= {"focalLength": repr(F * 36 / 64), "pixelRatio": "1", "principalPoint": ["0", "0"]}
    intrinsic |= {"distortionParams": ["0", "0", "0"]}
    views, poses = [], []
    for k, (name, pose) in enumerate(zip(NAMES, POSES, strict=True)):
        views.append({"viewId": str(k), "poseId": str(k), "intrinsicId": "7", "path": f"/home/me/{name}"})
        centre = (-pose[:3, :3].T @ pose[:3, 3]).astype(str).tolist()
        transform = {"rotation": pose[:3, :3].T.ravel().astype(str).tolist(), "center": centre}
        poses.append({"poseId": str(k), "pose": {"transform": transform, "locked": "0"}})
    return json.dumps({"version": ["1", "2", "6"], "views": views, "intrinsics": [intrinsic], "poses": poses})


def metashape_xml(coefficients: str = "") -> str:
    """Metashape's."""
    cameras = "".join(
        f'<camera id="{k}" sensor_id="0" label="{name}"><transform>{words(np.linalg.inv(pose))}</transform></camera>'
        for k, (name, pose) in enumerate(zip(NAMES, POSES, strict=True))
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><document version="2.0.0"><chunk label="Chunk 1"><sensors>'
        '<sensor id="0" label="unknown" type="frame"><resolution width="64" height="48"/>'
        '<calibration type="frame" class="adjusted"><resolution width="64" height="48"/>'
        f"<f>{F}</f><cx>0</cx><cy>0</cy>{coefficients}</calibration></sensor></sensors>"
        f"<cameras>{cameras}</cameras></chunk></document>"
    )


def poses_bounds_npy() -> bytes:
    """LLFF's."""
    rows = []
    for pose in POSES:
        world_T_cam = np.linalg.inv(pose)
        right, down, forward = world_T_cam[:3, :3].T
        matrix = np.stack([down, right, -forward, world_T_cam[:3, 3], (48, 64, F)], axis=1)
        rows.append([*matrix.ravel(), 3.0, 7.0])
    buffer = io.BytesIO()
    np.save(buffer, np.array(rows))
    return buffer.getvalue()


def cameras_sphere_npz() -> bytes:
    """NeuS's."""
    arrays = {}
    for k, pose in enumerate(POSES):
        world = np.eye(4)
        world[:3] = _K @ pose[:3]
        arrays |= {f"world_mat_{k}": 2.5 * world, f"scale_mat_{k}": np.diag([2.0, 2, 2, 1])}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def repacked(content: bytes, name: str, compression: int = zipfile.ZIP_STORED) -> Callable[[bytes], bytes]:
    """A function that puts another entry of a name into a .npz, whose checksums are right."""

    def pack(entry: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", compression) as new:
            for info in old.infolist():
                new.writestr(info.filename, entry if info.filename == name else old.read(info))
        return buffer.getvalue()

    return pack


def strecha_camera(pose: np.ndarray) -> str:
    """A `.camera` file."""
    world_T_cam = np.linalg.inv(pose)
    return f"{words(_K)}\n0 0 0\n{words(world_T_cam[:3, :3])}\n{words(world_T_cam[:3, 3])}\n64 48\n"


# By the file's name, its content; each is a scene of its own beside the photos.
SCENES: dict[str, Callable[[], str | bytes]] = {
    "transforms.json": transforms_json,
    "bundle.out": bundle_out,
    "scene.nvm": nvm,
    "sfm_data.json": sfm_data_json,
    "cameras.sfm": cameras_sfm,
    "cameras.xml": metashape_xml,
    "poses_bounds.npy": poses_bounds_npy,
    "cameras_sphere.npz": cameras_sphere_npz,
}


def write_scene(folder: Path, name: str) -> Path:
    """Write a scene of `SCENES`, or "a.jpg.camera" and those beside it, with its photos; returns its file."""
    write_photos(folder / "images")
    if name.endswith(".camera"):
        for photo, pose in zip(NAMES, POSES, strict=True):
            (folder / f"{photo}.camera").write_text(strecha_camera(pose))
        return folder / name
    content = SCENES[name]()
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    if name == "bundle.out":
        (folder / "list.txt").write_text("".join(f"images/{photo} 0 {F}\n" for photo in NAMES))
    return folder / name
