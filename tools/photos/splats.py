"""A result as the start of Gaussian splatting: a COLMAP model whose points are the fused cloud's, and depth as priors.

    images/<name>                       the photos, without distortion
    sparse/0/cameras.txt, images.txt, points3D.txt
    depths/<stem>.png, sparse/0/depth_params.json

A prior is the inverse depth in 16 bits, as the original Gaussian splatting and its descendants read it with
`-d depths`: value / 65536 * scale + offset is 1 / depth in the model's units, with the scale and offset of
depth_params.json. Pixel centres are at halves here, as splatting's renderers have them.
"""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from datasets.files import DataError, read_bytes, write_bytes, write_json
from datasets.formats.colmap_workspace import ModelImage, ModelPoints, write_model
from fusion.clouds import Points, joined_points
from fusion.files import read_parts
from fusion.finish import FinishedCloud
from fusion.options import CloudOptions
from tools.evaluation.scan_results import ScanResult
from tools.photos.workspace import sees
from tools.runtime.program import Progress

_STEPS = 65536  # the readers divide by it, though the largest value is one less
_OFFSET = 0.0


def export_splats(result: ScanResult, folder: Path, points: int, progress: Progress) -> int:
    """Write a scan's start of at most `points` points of its cloud; returns their number. The model is written last.

    Raises DataError when there is no cloud, or no depth map holds a depth.
    """
    if not result.cloud_path.exists():
        raise DataError(f"{result.cloud_path}: no such cloud; fuse the scan first")
    chosen = _chosen(result.cloud_path, points, folder)
    names = {view: result.predictions.files(view).image.name for view in result.views}
    nearest = min(_nearest(result.depth(view)) for view in result.views)
    if not np.isfinite(nearest):
        raise DataError(f"{result.folder}: no depth map holds a depth")
    images, seen = [], []
    for view in result.views:
        of = result.predictions.view(view)
        write_bytes(folder / "images" / names[view], read_bytes(result.predictions.image_path(view)))
        _write_prior(folder / "depths" / f"{Path(names[view]).stem}.png", result.depth(view), nearest)
        images.append(ModelImage(names[view], of.camera.at_halves(), of.depth.shape[::-1]))
        seen.append(sees(of, chosen.xyz))
        progress.step()
    several = np.stack(seen, axis=1)
    kept = several.sum(axis=1) >= 1
    sparse = folder / "sparse" / "0"
    write_json(sparse / "depth_params.json", _params(names, nearest))
    write_model(sparse, images, ModelPoints(chosen.xyz[kept], chosen.colors[kept], several[kept]))
    return int(kept.sum())


def _chosen(ply: Path, points: int, folder: Path) -> Points:
    """At most so many points of a cloud, of even spacing."""
    with FinishedCloud(read_parts(ply), CloudOptions(max_points=points, thinning="even"), folder) as cloud:
        return joined_points(list(cloud.chosen()) or [next(read_parts(ply))])


def _nearest(depth: np.ndarray) -> float:
    """The smallest depth of a map; infinite where there is none."""
    return float(depth[depth > 0].min()) if (depth > 0).any() else np.inf


def _write_prior(path: Path, depth: np.ndarray, nearest: float) -> None:
    """Write the inverse of a depth map [H, W] as a share of the largest, in 16 bits; 0 where there is none."""
    with np.errstate(divide="ignore"):
        inverse = np.where(depth > 0, nearest / depth, 0)
    values = np.minimum(np.rint(inverse * _STEPS), _STEPS - 1).astype(np.uint16)
    ok, encoded = cv2.imencode(".png", values)
    if not ok:
        raise DataError(f"{path}: the inverse depth cannot be encoded")
    write_bytes(path, encoded.tobytes())


def _params(names: Mapping[int, str], nearest: float) -> dict[str, dict[str, float]]:
    """The scale and offset of each image's prior, by its name without the ending. One scale for all: the readers take
    images whose scale differs much from the others' for unreliable."""
    return {Path(name).stem: {"scale": 1 / nearest, "offset": _OFFSET} for name in names.values()}
