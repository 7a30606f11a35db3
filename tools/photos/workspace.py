"""A result as a dense workspace of COLMAP."""

from pathlib import Path

import numpy as np

from datasets.files import read_bytes, write_bytes
from datasets.formats.colmap_workspace import ModelImage, ModelPoints, write_configs, write_map, write_model
from datasets.predictions import DepthView
from fusion.consistency import Check
from fusion.normals import depth_normals
from tools.evaluation.scan_results import ScanResult
from tools.runtime.program import Progress

# A point is seen where the depth map agrees to this share of the depth, as the normal check has it.
_SAME_DEPTH = 0.005


def export_scan(
    result: ScanResult, folder: Path, check: Check, conf: float, points_per_view: int, progress: Progress
) -> int:
    """Write a scan's workspace; its sparse model last, which COLMAP reads first. Returns the number of its points."""
    names = {view: result.predictions.files(view).image.name for view in result.views}
    filtered, parts = {}, []
    for view in result.views:
        camera = result.predictions.view(view).camera
        confirmed, confident = result.trusted(view, check, conf)
        maps = {"photometric": np.where(confident, result.depth(view), 0)}
        maps["geometric"] = np.where(confirmed, maps["photometric"], 0)
        for kind, depth in maps.items():
            normals = depth_normals(depth, camera) @ camera.cam_T_world[:3, :3].T  # to the camera's axes
            write_map(folder / "stereo" / "depth_maps" / f"{names[view]}.{kind}.bin", depth)
            write_map(folder / "stereo" / "normal_maps" / f"{names[view]}.{kind}.bin", normals)
        image = result.predictions.image_path(view)
        write_bytes(folder / "images" / names[view], read_bytes(image))
        filtered[view] = DepthView(maps["geometric"], camera)
        parts.append(sparse_points(filtered[view], result.predictions.image(view), points_per_view))
        progress.step()
    xyz, colors = (np.concatenate(values) for values in zip(*parts, strict=True))
    seen = np.stack([sees(view, xyz) for view in filtered.values()], axis=1)
    several = seen.sum(axis=1) >= 2
    images = [ModelImage(names[view], of.camera, of.depth.shape[::-1]) for view, of in filtered.items()]
    write_configs(folder / "stereo", {names[view]: [names[i] for i in sources] for view, sources in result.pairs})
    write_model(folder / "sparse", images, ModelPoints(xyz[several], colors[several], seen[several]))
    return int(several.sum())


def sparse_points(view: DepthView, image: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points [n, 3] and colours [n, 3] of at most `count` pixels with a depth, evenly spread over these."""
    known = np.flatnonzero(view.depth > 0)
    chosen = np.zeros(view.depth.size, bool)
    chosen[known[np.linspace(0, len(known) - 1, min(count, len(known))).astype(int)]] = True
    chosen = chosen.reshape(view.depth.shape)
    return view.camera.lift(view.depth, chosen), image[chosen]


def sees(view: DepthView, xyz: np.ndarray) -> np.ndarray:
    """Which points [N, 3] lie on a view's depth map, bool [N]."""
    u, v, z = view.camera.project(xyz)
    height, width = view.depth.shape
    column, row = np.rint(u), np.rint(v)
    inside = (z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    depth = view.depth[np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int)]
    return inside & (np.abs(depth - z) < _SAME_DEPTH * z)
