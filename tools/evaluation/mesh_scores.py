"""A scan's mesh beside its cloud, both judged by exactly known surfaces."""

from pathlib import Path

import numba
import numpy as np

from datasets.formats.images import read_image_size
from datasets.layouts.base import Layout
from datasets.results import cloud_path, mesh_path
from tools.evaluation.clouds import compare_clouds, kept_apart, read_finite_points
from tools.evaluation.scenes import visible_surface

# Points on a mesh, of a cloud and of the truth are apart by this share of the threshold: a square metre counts the same
# near the cameras and far away, where fewer pixels see it (as in the Tanks and Temples benchmark).
_SPACING = 0.5


def footprint(layout: Layout, scan: str) -> float:
    """What a pixel covers at the median exact depth, world units; the median over the views."""
    found, light = [], layout.lights(scan)[0]
    for view, _ in layout.pairs(scan):
        depth = layout.ground_truth(scan, view, read_image_size(layout.image_path(scan, view, light)))
        K = layout.camera(scan, view).K
        found.append(float(np.median(depth[depth > 0])) / float(np.sqrt(abs(K[0, 0] * K[1, 1]))))
    return float(np.median(found))


def mesh_scores(layout: Layout, outdir: Path, scan: str, widths: float) -> dict[str, dict[str, float]]:
    """Scores of "cloud" and "mesh": acc and comp (means, world units), precision, recall, f_score, count.

    The threshold of the shares, from which on distances do not count for the means either, is so many `widths` of what
    a pixel covers. count: points of the cloud, or on the mesh, compared. Raises DataError where a file is missing.
    """
    threshold = widths * footprint(layout, scan)
    truth = _spread(visible_surface(layout, scan), threshold)
    ply = cloud_path(outdir, scan)
    rows = {}
    for label, path in (("cloud", ply), ("mesh", mesh_path(ply))):
        points = _spread(read_finite_points(path, threshold * _SPACING).points, threshold)
        result = compare_clouds(points, truth, (threshold,), threshold, numba.get_num_threads())
        shares = next(iter(result["f_scores"].values()))
        rows[label] = {"acc": result["acc"], "comp": result["comp"], **shares, "count": len(points)}
        rows[label]["threshold"] = threshold
    return rows


def _spread(points: np.ndarray, threshold: float) -> np.ndarray:
    return points[kept_apart(points, threshold * _SPACING, 0)]


def format_rows(scores: dict[str, dict[str, dict[str, float]]]) -> str:
    """A table of scans' scores, two lines each."""
    lines = [f"{'':20}{'':8}{'threshold':>11}{'accuracy':>11}{'complete':>11}{'precision':>11}{'recall':>11}{'F':>11}"]
    for scan, rows in scores.items():
        for label, row in rows.items():
            lengths = "".join(f"{row[name]:11.4g}" for name in ("threshold", "acc", "comp"))
            shares = "".join(f"{row[name]:11.2%}" for name in ("precision", "recall", "f_score"))
            lines.append(f"{scan[:19]:20}{label:8}{lengths}{shares}")
    return "\n".join(lines)
