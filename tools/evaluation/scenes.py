"""Depth and clouds of scenes whose depth is known exactly: the scores of the training benchmark."""

from pathlib import Path

import numba
import numpy as np

from datasets.files import DataError
from datasets.formats.images import read_image_size
from datasets.layouts.base import Layout
from datasets.results import cloud_path
from datasets.synthetic.render import pixel_rays
from tools.evaluation.clouds import compare_clouds, read_points


def visible_surface(layout: Layout, scan: str) -> np.ndarray:
    """The world points [N, 3] that a scan's views see, from their exact depth; raises DataError where it is missing."""
    parts, light = [], layout.lights(scan)[0]
    for view, _ in layout.pairs(scan):
        depth = layout.ground_truth(scan, view, read_image_size(layout.image_path(scan, view, light)))
        if depth is None:
            raise DataError(
                f"{layout.root}: the exact depth of view {view} of {scan} is missing (gt/{view:08d}.pfm in the test "
                "layout); make scenes with tools/make_synthetic.py"
            )
        depth = depth.astype(np.float64)
        rows, columns = np.nonzero(depth > 0)
        pixels = np.stack([columns, rows, np.ones_like(rows)]) * depth[rows, columns]
        rays = pixel_rays(layout.camera(scan, view))
        parts.append((rays[:, :3] @ pixels + rays[:, 3:]).T)
    return np.concatenate(parts)


def cloud_scores(layout: Layout, outdir: Path, scans: list[str], max_dist: float) -> dict[str, float]:
    """acc, comp and overall (mm, means over the scans) of the clouds in a result folder."""
    rows = []
    for scan in scans:
        path = cloud_path(outdir, scan)
        try:
            cloud, _ = read_points(path)
        except DataError:
            if path.exists():  # there, but without a point
                rows.append([max_dist] * 3)
                continue
            raise
        result = compare_clouds(
            cloud, visible_surface(layout, scan), max_dist=max_dist, threads=numba.get_num_threads()
        )
        rows.append([result[name] if result[name] == result[name] else max_dist for name in ("acc", "comp", "overall")])
    return dict(zip(("acc", "comp", "overall"), np.mean(rows, axis=0).tolist(), strict=True))


def ratios(row: dict[str, float], first: dict[str, float], thresholds: tuple[float, ...]) -> dict[str, float]:
    """A prediction's scores over the first one's, where these are not 0; for shares within a threshold those of the
    pixels beyond it."""
    names = ("mean", "median", "acc", "comp", "overall")
    pairs = {name: (row[name], first[name]) for name in names}
    pairs |= {f"beyond_{t:g}": (1 - row[f"within_{t:g}"], 1 - first[f"within_{t:g}"]) for t in thresholds}
    return {name: value / base for name, (value, base) in pairs.items() if base > 0}
