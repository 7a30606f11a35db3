"""The DTU training layout (docs/formats.md)."""

import re
from pathlib import Path

import cv2
import numpy as np

from datasets.camera import Camera
from datasets.files import DataError
from datasets.formats.images import read_image
from datasets.formats.pfm import read_pfm
from datasets.layouts.base import Layout, folder_names

_SCAN_SUFFIX = "_train"
_CAMERA_SCALE = 4  # camera files hold the intrinsics at 1/4 of the image size


class DtuTraining(Layout):
    """`Cameras/`, `Rectified/<scan>_train/`, and `Depths_raw/<scan>/` where ground truth is known."""

    scales_images = False
    has_lights = True

    def all_scans(self) -> list[str]:
        folders = folder_names(str(self.root / "Rectified"))
        return sorted(name.removesuffix(_SCAN_SUFFIX) for name in folders if name.endswith(_SCAN_SUFFIX))

    def pair_path(self, scan: str) -> Path:
        return self.root / "Cameras" / "pair.txt"

    def camera_folder(self, scan: str) -> Path:
        return self.root / "Cameras" / "train"

    def camera(self, scan: str, view: int) -> Camera:
        return super().camera(scan, view).scaled(_CAMERA_SCALE, _CAMERA_SCALE)

    def image_folder(self, scan: str) -> Path:
        return self.root / "Rectified" / f"{scan}{_SCAN_SUFFIX}"

    def image_name(self, scan: str, view: int, light: int) -> str:
        return f"rect_{view + 1:03d}_{light}_r5000.png"

    def lights(self, scan: str) -> list[int]:
        names = folder_names(str(self.image_folder(scan)))
        matches = (re.fullmatch(r"rect_[0-9]{3}_([0-9])_r5000\.png", name) for name in names)
        lights = sorted({int(match[1]) for match in matches if match})
        if not lights:
            raise DataError(f"{self.image_folder(scan)}: holds no image named rect_<view>_<light>_r5000.png")
        return lights

    def ground_truth(self, scan: str, view: int, size: tuple[int, int]) -> np.ndarray | None:
        folder = self.root / "Depths_raw" / scan
        path, visual = folder / f"depth_map_{view:04d}.pfm", folder / f"depth_visual_{view:04d}.png"
        if not path.exists():
            return None
        depth = _fit(read_pfm(path), size, path)
        if visual.exists():
            depth = np.where(_fit(read_image(visual)[..., 0], size, visual) > 10, depth, 0)
        return np.nan_to_num(depth).astype(np.float32)


def _fit(data: np.ndarray, size: tuple[int, int], path: Path) -> np.ndarray:
    """A map of the image's own size as it is; DTU's 1600x1200 halved (nearest) and centre-cropped to `size`."""
    width, height = size
    if data.shape[:2] == (height, width):
        return data
    data = cv2.resize(data, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_NEAREST)
    top, left = (data.shape[0] - height) // 2, (data.shape[1] - width) // 2
    if top < 0 or left < 0:
        raise DataError(
            f"{path}: half its size, {data.shape[1]}x{data.shape[0]}, is below the image's {width}x{height}"
        )
    return data[top : top + height, left : left + width]
