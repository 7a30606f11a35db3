"""The test layout: DTU test, Tanks and Temples, own photos (docs/formats.md)."""

import dataclasses
import functools
from pathlib import Path

import cv2
import numpy as np

from datasets.camera import Camera
from datasets.files import DataError
from datasets.formats.images import read_depth_png, read_image_size
from datasets.formats.pfm import read_pfm
from datasets.formats.points import read_points
from datasets.layouts.base import Layout, folder_names

_SUFFIXES = (".jpg", ".png", ".jpeg", ".JPG", ".PNG", ".JPEG", ".jfif")
_CAMERA_FOLDERS = ("cams", "cams_1")  # the second is where TransMVSNet and MVSFormer look
_NEIGHBOURS = 8


@dataclasses.dataclass(frozen=True)
class SurfacePoints:
    """Which points of a surface stand for the depth of a view.

    cell: of the points in a cell of cell x cell pixels only the nearest to the camera; those behind it may be hidden.
    isolated: this share of the points, those farthest from their nearest neighbours, is left out; triangulated points
        are often wrong there.
    """

    cell: int = 8
    isolated: float = 0.0


class GeneralScans(Layout):
    """`<scan>/images/`, `<scan>/cams/` (or `cams_1/`), `<scan>/pair.txt`; where depth is known `<scan>/gt/%08d.pfm`, or
    `<scan>/depth/%08d.png` of 16 bits in whole units of the camera files (mm, as a rule); where only points of the
    surface are known `<scan>/sparse_points.txt`, x y z in world units; masks of images as `<scan>/masks/%08d.png`."""

    checks_cameras = True

    def all_scans(self) -> list[str]:
        return sorted(path.parent.name for path in self.root.glob("*/pair.txt"))

    def pair_path(self, scan: str) -> Path:
        if not (self.root / scan).is_dir():
            raise DataError(f"{self.root / scan}: no such scan; check the scan list")
        return self.root / scan / "pair.txt"

    def camera_folder(self, scan: str) -> Path:
        folders = [self.root / scan / name for name in _CAMERA_FOLDERS]
        return next((folder for folder in folders if folder.is_dir()), folders[0])

    def image_folder(self, scan: str) -> Path:
        return self.root / scan / "images"

    def image_name(self, scan: str, view: int, light: int) -> str:
        names = folder_names(str(self.image_folder(scan)))
        found = (f"{view:08d}{suffix}" for suffix in _SUFFIXES if f"{view:08d}{suffix}" in names)
        return next(found, f"{view:08d}.jpg")

    def mask_path(self, scan: str, view: int) -> Path | None:
        path = self.root / scan / "masks" / f"{view:08d}.png"
        return path if path.exists() else None

    def lights(self, scan: str) -> list[int]:
        return [0]

    def ground_truth(self, scan: str, view: int, size: tuple[int, int]) -> np.ndarray | None:
        exact, sensed = (self.root / scan / name for name in (f"gt/{view:08d}.pfm", f"depth/{view:08d}.png"))
        if exact.exists():
            depth = read_pfm(exact)
        elif sensed.exists():
            depth = read_depth_png(sensed)
        else:
            return None
        depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))
        return cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)

    def depth_of_points(
        self, scan: str, view: int, size: tuple[int, int], kept: SurfacePoints = SurfacePoints()
    ) -> np.ndarray | None:
        """The depth [H, W] at `size` (width, height) of the scan's points that the view sees and that are `kept`, 0
        elsewhere; None when the scan has no points."""
        path = self.root / scan / "sparse_points.txt"
        if not path.exists():
            return None
        width, height = read_image_size(self.image_path(scan, view))
        camera = self.camera(scan, view).scaled(size[0] / width, size[1] / height)
        return nearest_points(_read_points_once(str(path), kept.isolated), camera, size, kept.cell)


# One scan's folder in the test layout.
SingleScan = GeneralScans.of_one_scan


class AsWritten(GeneralScans):
    """The test layout with its camera files taken at their word: `depth_min interval [count [depth_max]]`, any range,
    any principal point."""

    checks_cameras = False


@functools.lru_cache(maxsize=2)
def _read_points_once(path: str, isolated: float) -> np.ndarray:
    return without_isolated(read_points(path), isolated)


def without_isolated(points: np.ndarray, share: float) -> np.ndarray:
    """Points [N, 3] without the share of them whose nearest neighbours are the farthest, by their mean distance."""
    neighbours = min(_NEIGHBOURS, len(points) - 1)
    if share == 0 or neighbours < 1:
        return points
    from scipy.spatial import cKDTree  # here: every program imports this module, few need this

    distances, _ = cKDTree(points).query(points, neighbours + 1)  # the first is the point itself
    order = np.argsort(distances[:, 1:].mean(axis=1), kind="stable")
    return points[np.sort(order[: len(points) - int(share * len(points))])]


def nearest_points(points: np.ndarray, camera: Camera, size: tuple[int, int], cell: int) -> np.ndarray:
    """Depth map float32 [H, W] at `size` (width, height) of world points [N, 3], 0 where there is none.

    Each point lies at the pixel nearest to its projection; of those in a cell of cell x cell pixels the nearest to the
    camera is kept.
    """
    width, height = size
    depth = np.zeros((height, width), np.float32)
    u, v, z = camera.project(points)
    before = (z > 0) & np.isfinite(u) & np.isfinite(v) & np.isfinite(z)
    column, row, z = np.rint(u[before]), np.rint(v[before]), z[before]
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    column, row, z = column[inside].astype(int), row[inside].astype(int), z[inside]
    nearest_first = np.argsort(z, kind="stable")
    cells = (row // cell) * width + column // cell
    _, first = np.unique(cells[nearest_first], return_index=True)
    kept = nearest_first[first]
    depth[row[kept], column[kept]] = z[kept]
    return depth
