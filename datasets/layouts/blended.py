"""BlendedMVS, its low-resolution set for training and testing (docs/formats.md)."""

from pathlib import Path

import cv2
import numpy as np

from datasets.files import DataError
from datasets.formats.pfm import read_pfm
from datasets.layouts.base import Layout


class BlendedScenes(Layout):
    """`<scene>/blended_images/`, `<scene>/cams/` with `pair.txt` in it, `<scene>/rendered_depth_maps/`.

    All depths are known, so that they are ground truth; depths of 0 are unknown.
    """

    checks_cameras = True

    def all_scans(self) -> list[str]:
        return sorted(path.parents[1].name for path in self.root.glob("*/cams/pair.txt"))

    def pair_path(self, scan: str) -> Path:
        if not (self.root / scan).is_dir():
            raise DataError(f"{self.root / scan}: no such scene; check the scan list")
        return self.camera_folder(scan) / "pair.txt"

    def camera_folder(self, scan: str) -> Path:
        return self.root / scan / "cams"

    def image_folder(self, scan: str) -> Path:
        return self.root / scan / "blended_images"

    def image_name(self, scan: str, view: int, light: int) -> str:
        return f"{view:08d}.jpg"

    def lights(self, scan: str) -> list[int]:
        return [0]

    def ground_truth(self, scan: str, view: int, size: tuple[int, int]) -> np.ndarray | None:
        path = self.root / scan / "rendered_depth_maps" / f"{view:08d}.pfm"
        if not path.exists():
            return None
        depth = read_pfm(path)
        depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))
        return cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
