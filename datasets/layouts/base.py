"""Which file is where: the interface every dataset layout fills in (docs/formats.md)."""

import abc
import functools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from datasets.camera import Camera
from datasets.files import DataError, PathLike, check_scan_name, list_folder, read_scan_list
from datasets.io import Pairs, read_camera, read_pairs


class Layout(abc.ABC):
    """Files of scans under a root folder. Views are numbered as in pair.txt; cameras belong to the full images."""

    # Whether images of any size are scaled to fit the networks; otherwise their sides must fit as they are.
    scales_images = True
    # Whether a scan is photographed under several numbered lights.
    has_lights = False

    def __init__(self, root: PathLike) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; set the dataset's path")

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
        scans = [check_scan_name(name, self.root) for name in self.all_scans()]
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

    def camera(self, scan: str, view: int) -> Camera:
        """The view's camera at full image size."""
        return read_camera(self.camera_path(scan, view))


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
