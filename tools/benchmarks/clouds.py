"""Labels, fusion and scoring of clouds."""

from pathlib import Path

import cv2
import numba
import numpy as np

from datasets.general import GeneralScans
from datasets.io import read_image_size
from fusion.builtin import fuse_views
from fusion.consistency import check_view, normal_check
from fusion.predictions import DepthView
from tools.benchmarks.measure import Case, Comparison, Figures, repeated

SOURCES = 10


def read_depth_views(scans: Path) -> list[DepthView]:
    """The exact depth maps of the first scan, with small errors as a network makes them."""
    layout = GeneralScans(scans)
    scan = layout.scans("all")[0]
    rng = np.random.default_rng(1)
    views = []
    for view, _ in layout.pairs(scan):
        depth = layout.ground_truth(scan, view, read_image_size(layout.image_path(scan, view)))
        noise = rng.normal(0, 5e-4, depth.shape).astype(np.float32)
        views.append(DepthView(depth * (1 + noise), layout.camera(scan, view)))
    return views


# ---------------------------------------------------------------- labels


def label_comparison(scans: Path) -> Comparison:
    """Cross-view check and encoding of one reference view with ten sources, in memory."""
    common = {"scans": scans}
    cases = (Case("plain", check_plainly, common), Case("compiled", check, common))
    return Comparison("labels", f"{SOURCES} sources", "reference view", cases)


def check(scans: Path) -> Figures:
    """fusion/consistency.py."""
    views = read_depth_views(scans)
    reference, sources = views[0], views[1 : SOURCES + 1]
    check = normal_check()
    kept = check_view(reference, sources, check).passed.mean()
    seconds = repeated(lambda: check_view(reference, sources, check), 5)
    return seconds, {"kept": round(float(kept), 5), "size": "x".join(map(str, reference.depth.shape[::-1]))}


def check_plainly(scans: Path) -> Figures:
    """The usual way of doing the same: whole arrays in NumPy, sampling with OpenCV."""
    views = read_depth_views(scans)
    reference, sources = views[0], views[1 : SOURCES + 1]
    kept = _check_with_arrays(reference, sources)[0].mean()
    seconds = repeated(lambda: _check_with_arrays(reference, sources), 3)
    return seconds, {"kept": round(float(kept), 5)}


def _check_with_arrays(reference: DepthView, sources: list[DepthView]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask, mean and standard deviation [H, W] of the depths that agree, at the normal check's default thresholds."""
    height, width = reference.depth.shape
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    count = np.zeros((height, width), np.int32)
    depths = [reference.depth]
    for source in sources:
        src_T_ref = source.camera.projection() @ np.linalg.inv(reference.camera.projection())
        u, v, _ = _transfer(src_T_ref, x, y, reference.depth)
        sampled = cv2.remap(source.depth, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)
        back_x, back_y, back = _transfer(np.linalg.inv(src_T_ref), u, v, sampled)
        distance = np.sqrt((back_x - x) ** 2 + (back_y - y) ** 2)
        agrees = (distance < 1) & (np.abs(back - reference.depth) / reference.depth < 0.005)
        count += agrees
        depths.append(np.where(agrees, back, 0))
    mean = sum(depths) / (count + 1)
    squares = [np.where(depth > 0, (depth - mean) ** 2, 0) for depth in depths]
    return count >= 5, mean, np.sqrt(sum(squares) / (count + 1))


def _transfer(b_T_a: np.ndarray, u: np.ndarray, v: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, ...]:
    """Pixels (u, v) at a depth in image a: pixels and depth in image b."""
    points = np.stack([u * depth, v * depth, depth, np.ones_like(depth)]).reshape(4, -1)
    x, y, z = (b_T_a @ points)[:3].reshape(3, *depth.shape)
    return x / z, y / z, z


# ---------------------------------------------------------------- fusion


def fusion_comparison(scans: Path) -> Comparison:
    """The built-in fuser on all views of a scan, in memory."""
    views = len(GeneralScans(scans).pairs(GeneralScans(scans).scans("all")[0]))
    return Comparison("fusion", f"{views} views", "scan", (Case("compiled", fuse, {"scans": scans}),))


def fuse(scans: Path) -> Figures:
    """fusion/builtin.py with test.py's default thresholds."""
    views = read_depth_views(scans)
    depths = np.stack([view.depth for view in views])
    images = np.random.default_rng(1).integers(0, 255, (*depths.shape, 3), np.uint8)
    cameras = [view.camera for view in views]

    def work() -> int:
        return sum(len(fused.points) for fused in fuse_views(depths, images, cameras, 0.1, 2))

    points = work()
    seconds = repeated(work, 1)
    checks = depths.size * (len(views) - 1)
    rate = checks / min(seconds) / numba.get_num_threads() / 1e6
    return seconds, {"points": points, "million_checks_per_second_and_core": round(rate, 1)}
