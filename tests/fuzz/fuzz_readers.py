"""The readers that are fuzzed. A new one is a line in `READERS`: its name, its share, its seeds, and how to judge it.

A seed is a valid file; `pack` turns damaged content into the file, for formats whose checksums or compression would
otherwise hide the damage from what lies behind them. A judge reads the file and asserts that what came back is sane.
"""

import dataclasses
import io
import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from colmap_models import small_model, write_model
from depth_files import colmap_map, dmap
from fuzz_limits import BYTES_PER_BYTE
from helpers import GOLDEN, ROOT
from PIL import Image
from plyfile import PlyData, PlyElement
from scene_files import (
    NAMES,
    POSES,
    SCENES,
    cameras_sphere_npz,
    repacked,
    strecha_camera,
    transforms_json,
    write_photos,
)
from scipy.io import savemat
from torch import nn

from datasets.files import DataError, read_json, read_scan_list
from datasets.formats.arrays import read_neus, read_poses_bounds
from datasets.formats.bundler import read_bundler, read_nvm
from datasets.formats.colmap import read_cameras, read_images
from datasets.formats.colmap import read_points as read_colmap_points
from datasets.formats.depth_maps import read_colmap_map, read_dmap, read_npy_map
from datasets.formats.images import read_depth_png, read_image, read_image_size, read_photo
from datasets.formats.mat import read_mat
from datasets.formats.metashape import read_camera_file, read_metashape
from datasets.formats.metrics import METRICS, read_metrics
from datasets.formats.openmvg import read_meshroom, read_openmvg
from datasets.formats.pfm import read_pfm
from datasets.formats.ply import read_ply, read_ply_count
from datasets.formats.ply_faces import read_ply_triangles
from datasets.formats.points import read_points
from datasets.formats.poses import read_middlebury, read_transforms
from datasets.io import read_camera, read_dmb, read_pairs
from datasets.photos.distortion import COEFFICIENTS
from datasets.photos.folders import PhotoFolders
from datasets.photos.posed import Lens, PosedPhotos, without_tracks
from datasets.photos.remarks import Remarks
from models.checkpoint import checkpoint_bytes, load_weights, read_checkpoint
from models.errors import CheckpointError
from models.settings import NetworkSettings
from tools.evaluation.dtu import read_observed_space
from tools.training.log import TrainingLog


@dataclasses.dataclass(frozen=True)
class Seed:
    """A valid file's content, and what turns it, damaged, into a file."""

    content: bytes
    pack: Callable[[bytes], bytes] = bytes


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader under test: `judge` reads a path and asserts; `seeds` makes the valid files it starts from."""

    name: str
    share: int
    seeds: Callable[[], list[Seed]]
    judge: Callable[[Path], None]
    bytes_per_byte: int = BYTES_PER_BYTE


# ---------------------------------------------------------------- maps


def _small_map(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(600, 50, shape).astype(np.float32)


def _pfm_seeds() -> list[Seed]:
    grey, colour = _small_map(5, 7), _small_map(4, 3, 3)
    return [
        Seed(b"Pf\n7 5\n-1.000000\n" + grey.astype("<f4").tobytes()),
        Seed(b"Pf\r\n7 5\r\n1\r\n" + grey.astype(">f4").tobytes()),
        Seed(b"PF 3 4 -1e0\n" + colour.astype("<f4").tobytes()),
        Seed(b"PF\n3\n4\n1.0\n" + colour.astype(">f4").tobytes()),
        Seed((GOLDEN / "fusibile/nc0/depth_est/00000000.pfm").read_bytes()),
    ]


def _judge_map(data: np.ndarray, path: Path, channels: tuple[int, ...] | None = None) -> None:
    assert data.dtype == np.float32 and data.ndim in (2, 3) and 0 < data.nbytes <= path.stat().st_size
    assert channels is None or data.ndim == 2 or data.shape[2] in channels


def _dmb_seeds() -> list[Seed]:
    golden = GOLDEN / "fusibile/zero_and_away/expected_gipuma_00000000"
    small = [struct.pack("<4i", 1, 5, 7, 1) + bytes(140), struct.pack("<4i", 1, 2, 3, 3) + _small_map(18).tobytes()]
    return [Seed(content) for content in [*small, (golden / "disp.dmb").read_bytes()]]


def _colmap_map_seeds() -> list[Seed]:
    return [Seed(colmap_map(_small_map(*shape))) for shape in ((5, 7), (2, 3, 3))]


def _dmap_seeds() -> list[Seed]:
    whole = dmap(_small_map(5, 7), "photos/a.jpg", _small_map(5, 7), normals=True)
    return [Seed(whole), Seed(dmap(_small_map(2, 3), "é"))]


def _judge_dmap(path: Path) -> None:
    read = read_dmap(path)
    _judge_map(read.depth, path, (1,))
    assert read.confidence is None or read.confidence.shape == read.depth.shape


def _npy_map_seeds() -> list[Seed]:
    seeds = []
    for values in (_small_map(1, 5, 7), _small_map(2, 3).astype(np.float16), np.arange(6).reshape(2, 3)):
        file = io.BytesIO()
        np.save(file, values)
        seeds.append(Seed(file.getvalue()))
    return seeds


def _judge_npy_map(path: Path) -> None:
    values = read_npy_map(path)
    assert values.dtype == np.float32 and values.ndim == 2 and 0 < values.size <= path.stat().st_size


# ---------------------------------------------------------------- cameras and lists


def _camera_seeds() -> list[Seed]:
    text = (GOLDEN / "cli/test/scan1/cams/00000000_cam.txt").read_text()
    body = text[: text.rstrip().rindex("\n") + 1]
    ends = ("425 2.5", "425.0 2.5 192", "425 2.5 192 905\n", "0.1 0.02 128.0 2.66")
    return [*(Seed((body + end).encode()) for end in ends), Seed(text.replace("\n", "\r\n").encode())]


def _judge_camera(path: Path) -> None:
    camera = read_camera(path)
    assert camera.K.shape == (3, 3) and camera.cam_T_world.shape == (4, 4) and len(camera.depth_line) <= 4
    for matrix in (camera.K, camera.cam_T_world):
        assert np.isfinite(matrix.astype(np.float32)).all() and np.isfinite(np.linalg.inv(matrix)).all()
    values = camera.depth_values(192, 1.06, path)
    assert values.shape == (192,) and values.dtype == np.float32 and np.isfinite(values).all()
    assert values[0] > 0 and values[1] > values[0] and (np.diff(values) >= 0).all()


def _pair_seeds() -> list[Seed]:
    golden = (GOLDEN / "cli/test/scan1/pair.txt").read_bytes()
    return [Seed(golden), Seed(golden.replace(b"\n", b"\r\n")), Seed(b"3\n0\n2 1 9.5 2 1e3\n1\n1 0 nan\n2\n0\n")]


def _judge_pairs(path: Path) -> None:
    pairs = read_pairs(path)
    references = [reference for reference, _ in pairs]
    assert len(set(references)) == len(references) and any(sources for _, sources in pairs)
    for reference, sources in pairs:
        assert reference not in sources
        assert all(type(view) is int and len(f"{view:08d}") == 8 for view in (reference, *sources))


def _scan_list_seeds() -> list[Seed]:
    lists = [path.read_bytes() for path in sorted((ROOT / "lists").glob("*/*.txt"))]
    return [Seed(content) for content in [*lists, b"\xef\xbb\xbfscan1\r\n\r\nmy photos\r\n", "Église\n塔".encode()]]


def _judge_scan_list(path: Path) -> None:
    scans = read_scan_list(path)
    assert scans and len(set(scans)) == len(scans)
    root = Path("/data/root")
    for scan in scans:
        assert (root / scan).resolve().parent == root and (root / scan).name == scan
        assert scan.isprintable() and len(f".{scan}_train.12345678.tmp".encode()) < 256


def _json_seeds() -> list[Seed]:
    record = {"scans": {"1": {"acc": 0.5, "made_from": {"files": {"a": [1, 2]}}}}, "mean": None, "text": "é\n"}
    return [Seed(json.dumps(record, indent=2).encode()), Seed(b"[" * 500 + b"1" + b"]" * 500), Seed(b'"x"')]


# ---------------------------------------------------------------- images


def _encoded(image: np.ndarray, kind: str, mode: str | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(image)
    (picture.convert(mode) if mode else picture).save(buffer, kind, **options)
    return buffer.getvalue()


def _with_checksums(content: bytes) -> bytes:
    """A damaged PNG whose chunks have right checksums again, as far as there are chunks."""
    start = 8
    while start + 12 <= len(content):
        stop = start + 8 + int.from_bytes(content[start : start + 4], "big")
        if stop + 4 > len(content):
            break
        checksum = zlib.crc32(content[start + 4 : stop]).to_bytes(4, "big")
        content = content[:stop] + checksum + content[stop + 4 :]
        start = stop + 4
    return content


def _colours() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)


def _image_seeds() -> list[Seed]:
    pngs = [_encoded(_colours(), "PNG", mode) for mode in ("RGB", "L", "RGBA", "P", "1", "LA")]
    jpegs = [_encoded(_colours(), "JPEG", mode, quality=80) for mode in ("RGB", "L", "CMYK")]
    jpegs += [_encoded(_colours(), "JPEG", progressive=True), _encoded(_colours(), "JPEG", exif=Image.Exif())]
    others = [_encoded(_colours(), kind) for kind in ("GIF", "TIFF", "BMP", "PPM")]
    damaged = [Seed(content, _with_checksums) for content in pngs]
    return [*damaged, *(Seed(content) for content in [*jpegs, *jpegs, *pngs[:2], *others])]


def _judge_image(path: Path) -> None:
    image = read_image(path)
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert image.shape[1::-1] == read_image_size(path) and min(image.shape) > 0


def _judge_image_size(path: Path) -> None:
    width, height = read_image_size(path)
    assert 0 < width < 2**32 and 0 < height < 2**32


def _photo_seeds() -> list[Seed]:
    exif = Image.Exif()
    exif.update({0x0112: 6, 0x010F: "Maker", 0x0110: "Model 1"})
    exif.get_ifd(0x8769).update({0xA405: 28, 0x920A: 4.2, 0xA20E: 500.0, 0xA210: 3, 0xA002: 17})
    return [Seed(_encoded(_colours(), kind, exif=exif)) for kind in ("JPEG", "PNG")]


def _judge_photo(path: Path) -> None:
    image, info = read_photo(path)
    assert image.dtype == np.uint8 and sorted(image.shape[:2]) == sorted(read_image_size(path))
    assert len(info.camera) <= 200 and (info.focal is None or 0.1 < info.focal < 50)


def _depth_png_seeds() -> list[Seed]:
    depth = np.random.default_rng(0).integers(0, 65536, (11, 13), dtype=np.uint16)
    return [Seed(_encoded(depth, "PNG"), _with_checksums), Seed(_encoded(depth, "PNG"))]


def _judge_depth_png(path: Path) -> None:
    depth = read_depth_png(path)
    assert depth.dtype == np.float32 and depth.ndim == 2 and depth.min() >= 0 and depth.max() < 65536


# ---------------------------------------------------------------- clouds


def _ply_seeds() -> list[Seed]:
    fields = [("x", "f4"), ("y", "f4"), ("z", "f8"), ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("quality", "i2")]
    vertices = np.array([(1, 2, 3.5, 4, 5, 6, -7), (0.1, -2, 1e9, 255, 0, 1, 8), (0, 0, 0, 1, 2, 3, 4)], fields)
    faces = np.array([([0, 1, 2],), ([2, 1, 0],)], [("vertex_indices", "i4", (3,))])
    cameras = np.array([(1.5, 2)], [("focal", "f4"), ("id", "u1")])
    vertex, face = PlyElement.describe(vertices, "vertex"), PlyElement.describe(faces, "face")
    before = PlyElement.describe(cameras, "camera")
    lists = PlyElement.describe(
        np.array([(1, [7, 8], 2, 3), (4, [9], 5, 6)], [("x", "f4"), ("n", "O"), *fields[1:3]]), "vertex"
    )
    points = PlyElement.describe(np.array([(1, 2, 3), (4, 5, 6)], fields[:3]), "vertex")
    seeds = []
    for text, order in ((True, "="), (False, "<"), (False, ">")):
        for elements in ([vertex, face], [before, vertex], [points], [face, lists]):
            buffer = io.BytesIO()
            PlyData(elements, text=text, byte_order=order, comments=["a comment"]).write(buffer)
            seeds.append(Seed(buffer.getvalue()))
    return seeds


def _judge_ply(path: Path) -> None:
    points, colors = read_ply(path)
    assert points.dtype in (np.float32, np.float64) and points.shape == (read_ply_count(path), 3)
    assert colors is None or (colors.dtype == np.uint8 and colors.shape == points.shape)


def _judge_ply_faces(path: Path) -> None:
    triangles = read_ply_triangles(path)
    assert triangles.dtype == np.int64 and triangles.shape[1:] == (3,)
    assert not triangles.size or 0 <= triangles.min() <= triangles.max() < read_ply_count(path)


def _point_seeds() -> list[Seed]:
    return [Seed(b"31.93073 14.84717 -0.91353\n33.7 16.1 -2\n\n-1e-3 0 7.25e2\n"), Seed(b"1 2 3\r\n\t.5 6 7 \r\n")]


def _judge_points(path: Path) -> None:
    points = read_points(path)
    assert points.dtype == np.float64 and points.ndim == 2 and points.shape[1] == 3 and len(points) > 0
    assert np.isfinite(points.astype(np.float32)).all()


# ---------------------------------------------------------------- MATLAB


def _deflated(content: bytes) -> bytes:
    """A MATLAB file of version 5 whose one damaged variable is compressed."""
    header, variable = content[:128], zlib.compress(content[128:])
    return header + struct.pack("<2I", 15, len(variable)) + variable


def _mat_seeds() -> list[Seed]:
    mask = np.random.default_rng(0).random((4, 3, 5)) > 0.5
    variables = {"ObsMask": mask, "BB": np.array([[0.0, 0, 0], [4, 3, 5]]), "Res": 0.5}
    seeds = [Seed((GOLDEN / "dtu_eval/ObsMask/Plane1.mat").read_bytes())]
    for compressed in (False, True):
        buffer = io.BytesIO()
        savemat(buffer, variables, do_compression=compressed)
        seeds.append(Seed(buffer.getvalue()))
    for value in (mask, np.arange(3.0), np.array([1, "a"], object), {"field": 1}, "text", 1j):
        buffer = io.BytesIO()
        savemat(buffer, {"ObsMask": value})
        seeds.append(Seed(buffer.getvalue(), _deflated))
    return seeds


def _judge_mat(path: Path) -> None:
    mask = read_mat(path, ("ObsMask",))["ObsMask"]
    assert isinstance(mask, np.ndarray) and mask.ndim >= 2 and mask.dtype.kind in "biuf"
    space = read_observed_space(path, GOLDEN / "dtu_eval/ObsMask/Plane1.mat")
    assert space.mask.ndim == 3 and space.mask.dtype == bool and space.resolution > 0


# ---------------------------------------------------------------- metrics


def _metric_seeds() -> list[Seed]:
    with tempfile.TemporaryDirectory() as folder:
        log = TrainingLog(Path(folder), 1)
        for step in (1, 7, 7, 20):
            log.scalars("train", {"loss": 1.5 * step, "lr": 1e-3}, step)
        log.scalars("test", {"abs_depth_error": 4.25}, 20)
        log.close()
        return [Seed((Path(folder) / METRICS).read_bytes()), Seed(b'{"step": 3, "a/b": 1}\r\n{"step":4}\n')]


def _judge_metrics(path: Path) -> None:
    for table in read_metrics(path).values():
        assert table.ndim == 2 and table.shape[1] == 2 and len(table) and np.isfinite(table).all()
        assert (np.diff(table[:, 0]) >= 0).all()


# ---------------------------------------------------------------- poses


def _colmap_seeds(name: str) -> list[Seed]:
    """A file of a model, binary and text; the judge tells them by their first byte."""
    with tempfile.TemporaryDirectory() as folder:
        files = [
            write_model(Path(folder), small_model(), text) / f"{name}{'.txt' if text else '.bin'}" for text in (0, 1)
        ]
        return [Seed(path.read_bytes()) for path in files]


def _is_text(path: Path) -> bool:
    return path.read_bytes()[:1] == b"#"


def _judge_lens(lens: Lens) -> None:
    assert min(lens.size) > 0 and np.isfinite(lens.K).all() and abs(np.linalg.det(lens.K)) > 0
    assert np.isfinite(lens.distortion).all() and len(lens.distortion) in (0, len(COEFFICIENTS[lens.model]))


def _judge_colmap_cameras(path: Path) -> None:
    for lens in read_cameras(path, _is_text(path)).values():
        _judge_lens(lens)


def _judge_pose(name: str, cam_T_world: np.ndarray) -> None:
    assert (Path("/data/root") / name).resolve().is_relative_to("/data/root") and name.isprintable()
    assert np.isfinite(np.linalg.inv(cam_T_world)).all()


def _judge_colmap_images(path: Path) -> None:
    for pose in read_images(path, _is_text(path)).values():
        _judge_pose(pose.name, pose.cam_T_world)


def _judge_colmap_points(path: Path) -> None:
    points = read_colmap_points(path, _is_text(path))
    assert np.isfinite(points.xyz).all() and points.xyz.shape == (len(points.lengths), 3)
    assert points.lengths.sum() == len(points.images)


def _judge_posed_photos(scene: PosedPhotos) -> None:
    assert scene.photos and len(scene.tracks) == len(scene.points) == 0
    for photo in scene.photos:
        _judge_lens(photo.lens)
        _judge_pose(photo.name, photo.cam_T_world)


def _transforms_seeds() -> list[Seed]:
    frames = [{"file_path": f"./a/{k}.png", "transform_matrix": np.eye(4).tolist()} for k in range(3)]
    lens = {"w": 64, "h": 48, "fl_x": 60.5, "cx": 32, "cy": 24, "k1": 0.1, "camera_model": "OPENCV"}
    angle = {"w": 64, "h": 48, "camera_angle_x": 0.7}
    return [Seed(json.dumps({**entries, "frames": frames}).encode()) for entries in (lens, angle)]


def _scene_seeds(name: str) -> list[Seed]:
    content = SCENES[name]()
    return [Seed(content if isinstance(content, bytes) else content.encode())]


def _scene_reader(name: str, share: int = 1, seeds: Callable[[], list[Seed]] | None = None) -> Reader:
    """A format of another program: read under its name, beside its photos, with whatever is damaged left out."""

    def judge(path: Path) -> None:
        if not (path.parent / "a.jpg").exists():
            write_photos(path.parent)
            (path.parent / "list.txt").write_text("".join(f"{photo}\n" for photo in NAMES))
        folders = PhotoFolders((path.parent,))
        scene = _SCENE_READERS[name](path, folders, Remarks(strict=False, say=lambda text: None))
        assert scene.photos and np.isfinite(scene.points).all() and len(scene.tracks) <= 3 * len(scene.points)
        for photo in scene.photos:
            _judge_lens(photo.lens)
            _judge_pose(photo.name, photo.cam_T_world)

    return Reader(name, share, seeds or (lambda: _scene_seeds(name)), judge)


_SCENE_READERS = {
    "bundle.out": read_bundler,
    "scene.nvm": read_nvm,
    "sfm_data.json": lambda path, photos, remarks: read_openmvg(path, remarks),
    "cameras.sfm": lambda path, photos, remarks: read_meshroom(path, remarks),
    "cameras.xml": lambda path, photos, remarks: read_metashape(path, remarks),
    "poses_bounds.npy": read_poses_bounds,
    "cameras_sphere.npz": read_neus,
    "a.jpg.camera": lambda path, photos, remarks: without_tracks([read_camera_file(path)], path),
    "transforms_lenient": read_transforms,
}


def _strecha_seeds() -> list[Seed]:
    return [Seed(strecha_camera(pose).encode()) for pose in POSES]


def _npz_seeds() -> list[Seed]:
    """The archive, and a matrix inside of it, whose checksum is right."""
    content = cameras_sphere_npz()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        inside = archive.read("world_mat_1.npy")
    pack = repacked(content, "world_mat_1.npy")
    return [Seed(content), Seed(inside, pack), Seed(inside, pack)]


def _lenient_transforms_seeds() -> list[Seed]:
    more = ({}, {"is_fisheye": True, "k1": 0.1}, {"k4": 0.1, "camera_model": "OPENCV"}, {"x_fov": 40.0})
    return [Seed(transforms_json(**entries).encode()) for entries in more]


def _middlebury_seeds() -> list[Seed]:
    line = "a.png " + " ".join(map(str, [60, 0, 32, 0, 60, 24, 0, 0, 1, *np.eye(3).ravel(), 1, 2, 3]))
    return [Seed(f"1\n{line}\n".encode()), Seed(f"2\r\n{line}\r\n{line.replace('a.png', 'b.png')}".encode())]


def _judge_middlebury(path: Path) -> None:
    if not path.with_name("a.png").exists():  # sizes come from the images
        path.with_name("a.png").write_bytes(_encoded(_colours(), "PNG"))
    _judge_posed_photos(read_middlebury(path))


# ---------------------------------------------------------------- checkpoints


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))


def pickle_of(archive: bytes) -> bytes:
    """The pickle inside a checkpoint file."""
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        return next(source.read(name) for name in source.namelist() if name.endswith("data.pkl"))


def with_pickle(archive: bytes, compression: int = zipfile.ZIP_STORED) -> Callable[[bytes], bytes]:
    """A function that puts another pickle into a checkpoint file, whose checksums are right."""
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        entries = [(name, source.read(name)) for name in source.namelist()]

    def pack(content: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as target:
            for name, data in entries:
                target.writestr(name, content if name.endswith("data.pkl") else data)
        return buffer.getvalue()

    return pack


def _checkpoint_seeds() -> list[Seed]:
    network = _network()
    network.settings = NetworkSettings()
    optimizer = torch.optim.Adam(network.parameters())
    archive = checkpoint_bytes(network, optimizer, 3, step=7)
    legacy = io.BytesIO()
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save({"epoch": 0, "model": state}, legacy, _use_new_zipfile_serialization=False)
    inside = Seed(pickle_of(archive), with_pickle(archive))
    return [inside, inside, Seed(archive), Seed(legacy.getvalue())]


def _judge_checkpoint(path: Path) -> None:
    content = read_checkpoint(path)
    network = _network()
    load_weights(network, content["model"], path)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


# ---------------------------------------------------------------- the table

# Shares: more for formats of many variants. Memory: compressed files justify more of it.
READERS = [
    Reader("pfm", 3, _pfm_seeds, lambda path: _judge_map(read_pfm(path), path, (3,))),
    Reader("dmb", 2, _dmb_seeds, lambda path: _judge_map(read_dmb(path), path)),
    Reader("colmap_map", 2, _colmap_map_seeds, lambda path: _judge_map(read_colmap_map(path), path)),
    Reader("dmap", 2, _dmap_seeds, _judge_dmap),
    Reader("npy_map", 2, _npy_map_seeds, _judge_npy_map),
    Reader("camera", 4, _camera_seeds, _judge_camera),
    Reader("pairs", 3, _pair_seeds, _judge_pairs),
    Reader("scan_list", 2, _scan_list_seeds, _judge_scan_list),
    Reader("json", 2, _json_seeds, lambda path: json.dumps(read_json(path))),
    Reader("image", 4, _image_seeds, _judge_image, 16_000),
    Reader("image_size", 2, _image_seeds, _judge_image_size),
    Reader("depth_png", 2, _depth_png_seeds, _judge_depth_png, 16_000),
    Reader("ply", 4, _ply_seeds, _judge_ply),
    Reader("ply faces", 4, _ply_seeds, _judge_ply_faces),
    Reader("points", 2, _point_seeds, _judge_points),
    Reader("mat", 2, _mat_seeds, _judge_mat, 2_500),
    Reader("metrics", 2, _metric_seeds, _judge_metrics),
    Reader("photo", 2, _photo_seeds, _judge_photo, 16_000),
    Reader("colmap_cameras", 2, lambda: _colmap_seeds("cameras"), _judge_colmap_cameras),
    Reader("colmap_images", 2, lambda: _colmap_seeds("images"), _judge_colmap_images),
    Reader("colmap_points", 2, lambda: _colmap_seeds("points3D"), _judge_colmap_points),
    Reader("transforms", 2, _transforms_seeds, lambda path: _judge_posed_photos(read_transforms(path))),
    Reader("middlebury", 1, _middlebury_seeds, _judge_middlebury),
    _scene_reader("transforms_lenient", seeds=_lenient_transforms_seeds),
    _scene_reader("bundle.out"),
    _scene_reader("scene.nvm"),
    _scene_reader("sfm_data.json"),
    _scene_reader("cameras.sfm"),
    _scene_reader("cameras.xml"),
    _scene_reader("poses_bounds.npy"),
    _scene_reader("cameras_sphere.npz", seeds=_npz_seeds),
    _scene_reader("a.jpg.camera", seeds=_strecha_seeds),
    Reader("checkpoint", 2, _checkpoint_seeds, _judge_checkpoint),
]

REFUSALS = (DataError, CheckpointError)
