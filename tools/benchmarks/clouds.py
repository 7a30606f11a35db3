"""Labels, refinement, fusion and scoring of clouds."""

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import cv2
import numba
import numpy as np
from scipy.io import savemat

from datasets.camera import Camera
from datasets.formats.images import read_image_size
from datasets.formats.ply import write_ply
from datasets.layouts.general import GeneralScans
from datasets.predictions import DepthView
from fusion.builtin import fuse_views
from fusion.consensus import supported_depth
from fusion.consistency import check_view, normal_check
from fusion.sources import Sources
from tools.benchmarks.measure import Case, Comparison, Figures, repeated
from tools.evaluation.dtu import ScanFiles, score_scan

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
        u, v, _ = _transfer(reference.camera, source.camera, x, y, reference.depth)
        sampled = cv2.remap(source.depth, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)
        back_x, back_y, back = _transfer(source.camera, reference.camera, u, v, sampled)
        distance = np.sqrt((back_x - x) ** 2 + (back_y - y) ** 2)
        agrees = (distance < 1) & (np.abs(back - reference.depth) / reference.depth < 0.005)
        count += agrees
        depths.append(np.where(agrees, back, 0))
    mean = sum(depths) / (count + 1)
    squares = [np.where(depth > 0, (depth - mean) ** 2, 0) for depth in depths]
    return count >= 5, mean, np.sqrt(sum(squares) / (count + 1))


def _transfer(a: Camera, b: Camera, u: np.ndarray, v: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, ...]:
    """Pixels (u, v) at a depth in camera a: pixels and depth in camera b."""
    rays = np.linalg.inv(a.K) @ np.stack([u, v, np.ones_like(depth)]).reshape(3, -1)
    points = np.vstack([rays * depth.reshape(-1), np.ones((1, depth.size))])
    x, y, z = b.K @ (b.cam_T_world @ np.linalg.inv(a.cam_T_world) @ points)[:3]
    return tuple(values.reshape(depth.shape) for values in (x / z, y / z, z))


# ---------------------------------------------------------------- refinement


def refinement_comparison(scans: Path) -> Comparison:
    """One pass over one reference view with ten sources, in memory."""
    common = {"scans": scans}
    cases = (Case("plain", refine_plainly, common), Case("compiled", refine, common))
    return Comparison("refinement", f"{SOURCES} sources", "reference view", cases)


def refine(scans: Path) -> Figures:
    """fusion/consensus.py."""
    return _refinement(scans, supported_depth, 5)


def refine_plainly(scans: Path) -> Figures:
    """The same with whole arrays in NumPy."""
    return _refinement(scans, supported_depth_with_arrays, 1)


def _refinement(scans: Path, choose: Callable, repetitions: int) -> Figures:
    views = read_depth_views(scans)
    reference, sources = views[0], views[1 : SOURCES + 1]
    confidences = [np.ones_like(source.depth) for source in sources]

    def refined() -> np.ndarray:
        return choose(reference.depth, Sources(reference, sources, confidences))

    moved = (refined() != reference.depth).mean()
    seconds = repeated(refined, repetitions)
    return seconds, {"moved": round(float(moved), 4), "size": "x".join(map(str, reference.depth.shape[::-1]))}


def supported_depth_with_arrays(depth: np.ndarray, sources: Sources) -> np.ndarray:
    """What fusion.consensus.supported_depth does, for depths that are all positive and finite."""
    own = list(_agreed(depth, sources))
    through = sum(np.minimum(agreed, 0) for agreed in own) / -0.1
    chosen, most = depth.copy(), np.maximum(sum(own), 1.5 * sum(own))
    for row, column in product(range(-2, 3), repeat=2):
        if row or column:
            padded = np.pad(depth, 2, mode="constant")
            candidate = padded[2 + row :, 2 + column :][: depth.shape[0], : depth.shape[1]]
            support = sum(_agreed(candidate, sources))
            support = np.where(candidate > 1.006 * depth, np.minimum(support, through), support)
            better = (candidate > 0) & (support > most)
            chosen, most = np.where(better, candidate, chosen), np.where(better, support, most)
    return chosen


def _agreed(depth: np.ndarray, sources: Sources) -> Iterator[np.ndarray]:
    """What each source says of depths [H, W]: its confidence where it agrees, negative where it sees through."""
    x, y = np.meshgrid(np.arange(depth.shape[1]), np.arange(depth.shape[0]))
    for source, confidence in zip(sources.views, sources.confidences, strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            u, v, z = _transfer(sources.reference.camera, source.camera, x, y, depth)
        u, v = (np.nan_to_num(np.floor(position + 0.5), nan=-1, posinf=-1, neginf=-1) for position in (u, v))
        seen = (depth > 0) & (z > 0) & (u >= 0) & (v >= 0) & (u < depth.shape[1]) & (v < depth.shape[0])
        column, row = np.where(seen, u, 0).astype(int), np.where(seen, v, 0).astype(int)
        share = (source.depth[row, column] - z) / (0.006 * np.where(seen, z, 1))
        agreement = np.where(share < 1, np.maximum(0, 1 - share**2), -0.1 * np.minimum(1, share - 1))
        yield np.where(seen, confidence[row, column] * agreement, 0)


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


# ---------------------------------------------------------------- scoring


def scoring_comparison(cloud_millions: float) -> Comparison:
    """The DTU score of a cloud against a ground truth of half as many points, read from files."""
    case = Case("compiled", score, {"cloud_millions": cloud_millions})
    setting = f"{cloud_millions:g} million points against {cloud_millions / 2:g} million"
    return Comparison("scoring", setting, "scan", (case,))


def score(cloud_millions: float) -> Figures:
    """tools/evaluation/dtu.py on a wavy surface of a DTU scan's extent, the cloud with 0.3 mm of noise and outliers."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        files = ScanFiles(*(Path(folder) / name for name in ("cloud.ply", "truth.ply", "mask.mat", "plane.mat")))
        _write_surface(files.truth, int(cloud_millions / 2 * 1e6), 0.0, rng)
        _write_surface(files.cloud, int(cloud_millions * 1e6), 0.3, rng)
        box = np.array([[-20.0, -20.0, 560.0], [320.0, 320.0, 640.0]])
        savemat(files.mask, {"ObsMask": np.ones((341, 341, 81), np.uint8), "BB": box, "Res": 1.0})
        savemat(files.plane, {"P": np.array([0.0, 0.0, 1.0, -570.0])})
        started = time.perf_counter()
        result = score_scan(files, 0.2, 20.0, 1, numba.get_num_threads())
        seconds = time.perf_counter() - started
    return [seconds], {name: round(result[name], 4) for name in ("acc", "comp", "n_reduced")}


def _write_surface(path: Path, count: int, noise: float, rng: np.random.Generator) -> None:
    """Points on a wavy surface of 300 x 300 mm; with noise (mm), one in fifty lies anywhere near it."""
    points = rng.random((count, 3), np.float32) * np.float32(300)
    height = 600 + 15 * np.sin(points[:, 0] / 20) * np.cos(points[:, 1] / 30)
    points[:, 2] = height + noise * rng.standard_normal(count, np.float32)
    if noise > 0:
        points[::50] += rng.uniform(-15, 15, (len(points[::50]), 3)).astype(np.float32)
    write_ply(path, points, np.zeros((count, 3), np.uint8))
