"""Labels, refinement, fusion and the DTU score on this machine, beside the plain definition or the other way."""

from collections.abc import Iterator

import numpy as np
import torch

from datasets.predictions import DepthView
from fusion.builtin import fuse_views
from fusion.refinement import Surroundings, finished_maps
from fusion.sources import Sources
from tools.benchmarks import clouds
from tools.benchmarks.measure import repeated
from tools.gpu.scans import named, small_scan
from tools.gpu.settings import CheckSettings, Found

# Points of one way that another may have or lack, by which side of a threshold a rounded number falls on.
_POINTS_APART = 1e-3
# Pixels to which one way of refinement gives another depth, by over this share: two candidates may be equally good.
_PIXELS_APART, _APART = 0.01, 1e-3


def measure_clouds(settings: CheckSettings) -> Iterator[Found]:
    """Every size's labels, refinement and fusion, and one score. Labels and the score are the CPU's work."""
    for size in settings.sizes:
        scans = small_scan(settings, size)
        sources = min(clouds.SOURCES, settings.scan_views - 1)
        plain = 0.0
        for way, check in (("plain, CPU", clouds.check_plainly), ("compiled, CPU", clouds.check)):
            seconds = min(check(scans)[0])
            plain = plain or seconds
            cells = {"way": way, "seconds": round(seconds, 4), "times as fast": round(plain / seconds, 2)}
            yield Found(f"labels of a view, {named(size)}, {sources} sources", cells)
        views = clouds.read_depth_views(scans)
        yield from _refinement(settings, views[: sources + 1], f"last pass of a view, {named(size)}, {sources} sources")
        yield from _fusion(settings, views, f"fusion, {named(size)}, {settings.scan_views} views")
    seconds, figures = clouds.score(settings.cloud_points)
    yield Found(
        f"DTU score, {settings.cloud_points:g} million points", {"way": "CPU", "seconds": seconds[0], **figures}
    )


def _refinement(settings: CheckSettings, views: list[DepthView], table: str) -> Iterator[Found]:
    """Numba on the CPU and torch on the device find the same depth."""
    sizes, random = [view.depth.shape for view in views], np.random.default_rng(1)
    images = [random.integers(0, 255, (*size, 3), np.uint8) for size in sizes]
    around = Surroundings(images[0], (float(views[0].depth.min()), float(views[0].depth.max())), images[1:])
    confidences = [random.random(size, np.float32) for size in sizes]
    expected = None
    for way, device in (("numba, CPU", None), (f"torch, {settings.device}", torch.device(settings.device))):

        def work(device: torch.device | None = device) -> np.ndarray:
            sources = Sources(views[0], views[1:], confidences[1:])
            return finished_maps(views[0].depth, confidences[0], sources, around, device)[0]

        depth, seconds = work(), min(repeated(work, 2))
        expected = depth if expected is None else expected
        apart = float((np.abs(depth / expected - 1) > _APART).mean())
        wrong = "" if apart <= _PIXELS_APART else f"{apart:.1%} of the pixels have another depth than by numba"
        yield Found(table, {"way": way, "seconds": round(seconds, 4), "other depth": f"{apart:.2%}"}, wrong)


def _fusion(settings: CheckSettings, views: list[DepthView], table: str) -> Iterator[Found]:
    """Numba on the CPU and torch on the device find the same points."""
    depths = np.stack([view.depth for view in views])
    images = np.random.default_rng(1).integers(0, 255, (*depths.shape, 3), np.uint8)
    cameras = [view.camera for view in views]
    expected = 0
    for way, device in (("numba, CPU", None), (f"torch, {settings.device}", torch.device(settings.device))):

        def work(device: torch.device | None = device) -> int:
            return sum(len(fused.points) for fused in fuse_views(depths, images, cameras, 0.1, 2, device=device))

        points, seconds = work(), min(repeated(work, 2))
        expected = expected or points
        wrong = "" if abs(points - expected) <= _POINTS_APART * expected else f"{points} points, numba has {expected}"
        yield Found(table, {"way": way, "seconds": round(seconds, 4), "points": points}, wrong)
