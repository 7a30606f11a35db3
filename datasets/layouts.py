"""Which file is where: the interface every dataset layout fills in (specs: formats)."""

import abc
import functools
import os
from pathlib import Path

import numpy as np

from datasets.files import DataError, PathLike, check_scan_name, list_folder, read_scan_list
from datasets.io import Camera, Pairs, read_camera, read_pairs


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
    def camera_path(self, scan: str, view: int) -> Path:
        """The view's camera file."""

    @abc.abstractmethod
    def image_path(self, scan: str, view: int, light: int) -> Path:
        """The view's image under a light."""

    @abc.abstractmethod
    def lights(self, scan: str) -> list[int]:
        """The lights under which the scan was photographed."""

    @abc.abstractmethod
    def has_image(self, scan: str, view: int, light: int) -> bool:
        """Whether the image exists, from the folder's listing."""

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
