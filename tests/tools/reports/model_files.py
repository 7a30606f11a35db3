"""A result with all that a page shows: points' numbers, a mesh, a unit, photos' names, a verdict, photos left out."""

from pathlib import Path

import numpy as np
from exact_results import HEIGHT, VIEWS, WIDTH, write_exact_result
from plyfile import PlyData, PlyElement

from datasets.camera import Camera
from datasets.files import write_json
from datasets.formats.ply import read_ply
from datasets.photos.names import write_photo_names
from datasets.predictions import Predictions

SCAN = "garden"
PHOTOS = [f"IMG_{number}.jpg" for number in range(VIEWS)]
START = VIEWS // 2  # the photo that a page opens with
VERDICT = {"verdict": "fair", "sentences": ["Half became points."], "advice": ["Go <nearer>."]}
LEFT_OUT = {f"IMG_{number}.jpg": "it is blurred" for number in range(20, 29)}


def write_rich_result(root: Path) -> tuple[Path, Path]:
    """(testpath, outdir) of one scan, whose mesh is what view START sees."""
    testpath, outdir = write_exact_result(root, {SCAN: 1})
    cloud = outdir / "gipuma_pcd" / f"{SCAN}.ply"
    xyz, colors = read_ply(cloud)
    views = 2 + (np.arange(len(xyz)) % 3)
    write_numbered_ply(cloud, xyz, colors, views, np.linspace(0.2, 1, len(xyz)))
    cloud.with_name(f"{SCAN}_all.ply").write_bytes(bytes(2_400_000))
    write_view_mesh(cloud.with_name(f"{SCAN}_mesh.ply"), Predictions(outdir / SCAN), START)
    write_json(cloud.with_name("units.json"), {"units": "metres", "source": "GPS", "up": [0, -1, 0]})
    write_photo_names(testpath / SCAN, PHOTOS)
    write_json(testpath / SCAN / "left_out.json", LEFT_OUT)
    write_json(outdir / SCAN / "verdict.json", VERDICT)
    return testpath, outdir


def write_numbered_ply(path: Path, xyz: np.ndarray, colors: np.ndarray, views: np.ndarray, sure: np.ndarray) -> None:
    """A cloud whose points have the number of views that agreed, and their confidence."""
    fields = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")]
    vertices = np.empty(len(xyz), [*fields, ("views", "u1"), ("confidence", "f4")])
    for name, values in zip(vertices.dtype.names, (*xyz.T, *colors.T, views, sure), strict=True):
        vertices[name] = values
    PlyData([PlyElement.describe(vertices, "vertex")], byte_order="<").write(path)


def write_view_mesh(path: Path, predictions: Predictions, view: int) -> None:
    """What one view sees as triangles between neighbouring pixels."""
    seen = predictions.view(view)
    xyz = seen.camera.lift(seen.depth, np.ones(seen.depth.shape, bool))
    corners = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    a, b, c, d = (part.reshape(-1) for part in (corners[:-1, :-1], corners[:-1, 1:], corners[1:, :-1], corners[1:, 1:]))
    faces = np.concatenate([np.stack([a, c, b], axis=1), np.stack([b, c, d], axis=1)])
    write_mesh(path, xyz, predictions.image(view).reshape(-1, 3), faces)


def write_mesh(path: Path, xyz: np.ndarray, colors: np.ndarray, faces: np.ndarray, text: bool = False) -> None:
    """A PLY of triangles, as mesh programs write them."""
    fields = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")]
    vertices = np.empty(len(xyz), fields)
    for name, values in zip(vertices.dtype.names, (*xyz.T, *colors.T), strict=True):
        vertices[name] = values
    triangles = np.empty(len(faces), [("vertex_indices", "i4", (3,))])
    triangles["vertex_indices"] = faces
    elements = [PlyElement.describe(vertices, "vertex"), PlyElement.describe(triangles, "face")]
    PlyData(elements, text=text, byte_order="<").write(path)


def even_pixels(depth: np.ndarray) -> list[tuple[int, int]]:
    """Two pixels (column, row) of a depth map [H, W] that lie far from each other, on even ground."""
    windows = np.lib.stride_tricks.sliding_window_view(depth, (7, 7))
    rows, columns = np.nonzero(np.ptp(windows, axis=(2, 3)) < 0.03 * windows.min(axis=(2, 3)))
    inner = (columns > 8) & (columns < depth.shape[1] - 15) & (rows > 8) & (rows < depth.shape[0] - 15)
    found = np.stack([columns[inner], rows[inner]], axis=1) + 3
    return [tuple(map(int, found[end(found @ [1, 0.3])])) for end in (np.argmin, np.argmax)]


def place_of(camera: Camera, depth: np.ndarray, size: list[float], pixel: tuple[int, int]) -> tuple[int, int]:
    """Where beside the middle of a canvas of this size a page shows a pixel of the camera that it looks through."""
    height, width = depth.shape
    focal_x, focal_y = camera.K[0, 0], camera.K[1, 1]
    focal = min(size[0] * focal_x / width, size[1] * focal_y / height) / 1.04  # a margin around the photo
    x, y = (pixel[0] - (width - 1) / 2) / focal_x, (pixel[1] - (height - 1) / 2) / focal_y
    return round(x * focal), round(y * focal)
