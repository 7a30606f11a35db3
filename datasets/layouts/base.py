"""Which file is where: the interface every dataset layout fills in (docs/formats.md)."""

import abc
import functools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from datasets.camera import Camera
from datasets.files import DataError, PathLike, check_scan_name, list_folder, read_scan_list
from datasets.formats.images import read_image_size
from datasets.io import Pairs, read_camera, read_pairs
from datasets.layouts.plausible import explained, off_centre, scan_has_maxima

# Of a scan so many cameras are looked at before the first is used, and so many images: every look costs a file.
_LOOKED_AT, _IMAGES_LOOKED_AT = 32, 4


class Layout(abc.ABC):
    """Files of scans under a root folder. Views are numbered as in pair.txt; cameras belong to the full images."""

    # Whether images of any size are scaled to fit the networks; otherwise their sides must fit as they are.
    scales_images = True
    # Whether a scan is photographed under several numbered lights.
    has_lights = False
    # Whether cameras are held against what is plausible, and their depth lines told apart (layouts.plausible).
    checks_cameras = False

    def __init__(self, root: PathLike, only: str | None = None) -> None:
        self.root, self._only = Path(root), only
        self._maxima: dict[str, bool] = {}
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; set the dataset's path")

    @classmethod
    def of_one_scan(cls, folder: PathLike) -> "Layout":
        """The layout of one scan's own folder, addressed as if its parent were the root and held nothing else."""
        path = Path(folder).resolve()
        if not path.is_dir():
            raise DataError(f"{path}: no such folder")
        return cls(path.parent, only=path.name)

    @abc.abstractmethod
    def all_scans(self) -> list[str]:
        """Every scan under the root."""

    @abc.abstractmethod
    def pair_path(self, scan: str) -> Path:
        """The scan's pair file."""

    @abc.abstractmethod
    def camera_folder(self, scan: str) -> Path:
        """Where the scan's camera files are."""

    @abc.abstractmethod
    def image_folder(self, scan: str) -> Path:
        """Where the scan's images are."""

    @abc.abstractmethod
    def image_name(self, scan: str, view: int, light: int) -> str:
        """The file name of the view's image under a light, there or not."""

    @abc.abstractmethod
    def lights(self, scan: str) -> list[int]:
        """The lights under which the scan was photographed."""

    @abc.abstractmethod
    def ground_truth(self, scan: str, view: int, size: tuple[int, int]) -> np.ndarray | None:
        """The view's depth map [H, W] at `size` (width, height), 0 where unknown, or None when there is none."""

    def scans(self, scan_list: PathLike) -> list[str]:
        """Scan names of a list file, or every scan for "all"."""
        if str(scan_list) != "all":
            return read_scan_list(scan_list)
        names = self.all_scans() if self._only is None else [self._only]
        scans = [check_scan_name(name, self.root) for name in names]
        if not scans:
            raise DataError(f"{self.root}: holds no scan")
        return scans

    def pairs(self, scan: str) -> Pairs:
        """(reference view, source views best first) of every view."""
        return _read_pairs_once(os.fspath(self.pair_path(scan)))

    def camera_name(self, view: int) -> str:
        """The file name of a view's camera."""
        return f"{view:08d}_cam.txt"

    def camera_path(self, scan: str, view: int) -> Path:
        """The view's camera file."""
        return self.camera_folder(scan) / self.camera_name(view)

    def image_path(self, scan: str, view: int, light: int = 0) -> Path:
        """The view's image under a light; the light does not matter where the layout has none."""
        return self.image_folder(scan) / self.image_name(scan, view, light)

    def mask_path(self, scan: str, view: int) -> Path | None:
        """The mask of the view's image, white where there is something to reconstruct; None where it has none."""
        return None

    def check_views(self, scan: str, views: Iterable[int], lights: Sequence[int]) -> None:
        """Raise DataError unless every view has a camera file, and an image under every light.

        Only the folders' listings are read: a file system far away answers each question slowly.
        """
        cameras, images = folder_names(str(self.camera_folder(scan))), folder_names(str(self.image_folder(scan)))
        for view in views:
            missing = [] if self.camera_name(view) in cameras else [self.camera_path(scan, view)]
            missing += [self.image_path(scan, view, i) for i in lights if self.image_name(scan, view, i) not in images]
            if missing:
                raise DataError(f"{self.pair_path(scan)}: names view {view} of {scan}, but {missing[0]} is missing")

    def camera_as_written(self, scan: str, view: int) -> Camera:
        """The camera of the view's file."""
        return read_camera(self.camera_path(scan, view))

    def camera(self, scan: str, view: int) -> Camera:
        """The view's camera at full image size, its depth line as `depth_min interval [count [depth_max]]`."""
        path = self.camera_path(scan, view)
        camera = read_camera(path)
        return explained(camera, self._scan_has_maxima(scan), path) if self.checks_cameras else camera

    def _scan_has_maxima(self, scan: str) -> bool:
        """Whether the scan's depth lines have depth_max second; checked once, with the cameras' principal points."""
        if scan not in self._maxima:
            views = [view for view, sources in self.pairs(scan) if sources]
            views = [views[i] for i in np.unique(np.linspace(0, len(views) - 1, _LOOKED_AT).astype(int))]
            names = folder_names(str(self.camera_folder(scan)))
            views = [view for view in views if self.camera_name(view) in names]
            cameras = {view: read_camera(self.camera_path(scan, view)) for view in views}
            lines = {self.camera_path(scan, view): camera.depth_line for view, camera in cameras.items()}
            step = max(1, len(cameras) // _IMAGES_LOOKED_AT)
            self._check_principal_points(scan, dict(list(cameras.items())[::step]))
            self._maxima[scan] = scan_has_maxima(lines)
        return self._maxima[scan]

    def _check_principal_points(self, scan: str, cameras: dict[int, Camera]) -> None:
        """Raise DataError when most of some views' principal points are far from the middles of their images."""
        off, looked_at = [], 0
        for view, camera in cameras.items():
            path = self.image_path(scan, view, self.lights(scan)[0])
            if path.is_file():
                looked_at += 1
                size = read_image_size(path)
                if where := off_centre(camera, size):
                    off.append((view, camera, size, where))
        if len(off) * 2 > looked_at:
            view, camera, (width, height), where = off[0]
            raise DataError(
                f"{self.camera_path(scan, view)}: its principal point ({camera.K[0, 2]:.1f}, {camera.K[1, 2]:.1f}) is "
                f"{where} of the {width}x{height} image, as if K were made for another size; give "
                "images of the size that K is for, or scale K; if they are cropped so, give --dataset as_written"
            )


@functools.lru_cache(maxsize=8)
def _read_pairs_once(path: str) -> Pairs:
    return read_pairs(path)


@functools.lru_cache(maxsize=64)
def folder_names(path: str) -> frozenset[str]:
    """The names in a folder, listed once."""
    return frozenset(list_folder(path))


def forget_files() -> None:
    """Let what was read of folders and pair files be read again: a long process may have changed them since."""
    _read_pairs_once.cache_clear()
    folder_names.cache_clear()
