"""Depth and normals of a result as dense workspaces of COLMAP, so that its programs and other meshers can go on.

    python tools/export_colmap.py --outdir OUT --testpath DTU_TEST --workspace DENSE
    colmap stereo_fusion --workspace_path DENSE/scan1 --output_path DENSE/scan1/fused.ply
    colmap poisson_mesher --input_path DENSE/scan1/fused.ply --output_path DENSE/scan1/mesh.ply

OUT is an --outdir of test.py or tools/predict.py. Writes DENSE/<scan> with images/, sparse/ (text), stereo/depth_maps/,
stereo/normal_maps/ and both .cfg files (datasets/colmap_writer.py tells the formats). The photometric maps hold the
depths of at least --conf confidence, the geometric ones those that other views confirm as well. The sparse points are
drawn from the geometric depth maps: COLMAP finds overlapping images by the points that they share.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

if not __package__:  # run as a file: find the packages beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.colmap_writer import ModelImage, ModelPoints, write_configs, write_map, write_model
from datasets.files import DataError, read_bytes, write_bytes
from fusion.consistency import Check, dynamic_check, normal_check
from fusion.filters import lift
from fusion.normals import depth_normals
from fusion.predictions import DepthView
from tools.check_and_encode import find_scans
from tools.program import Formatter, Progress, finite_float, natural_int, positive_int, run_program
from tools.scan_results import ScanResult

# A point is seen where the depth map agrees to this share of the depth, as the normal check has it.
_SAME_DEPTH = 0.005


def main() -> None:
    """Parse the flags, write every scan's workspace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--outdir", type=Path, required=True, help="results of test.py or tools/predict.py")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all" that were predicted')
    parser.add_argument(
        "--testpath", type=Path, help="pair files of the scans; else each view's nearest are its sources"
    )
    parser.add_argument("--workspace", type=Path, required=True, help="folder for the workspaces, one per scan")
    parser.add_argument("--conf", type=finite_float, default=0.05, help="least confidence of a depth, 0 to 1")
    parser.add_argument("--check", choices=("normal", "dynamic"), default="normal", help="check of the geometric maps")
    parser.add_argument(
        "--thres_view", type=natural_int, default=3, help="normal check: least number of agreeing views"
    )
    parser.add_argument("--points_per_view", type=positive_int, default=500, help="sparse points drawn from each view")
    args = parser.parse_args()
    if args.testpath is not None and not args.testpath.is_dir():
        raise DataError(f"{args.testpath}: no such folder; --testpath must hold the scans' pair files")
    check = normal_check(thres_view=args.thres_view) if args.check == "normal" else dynamic_check()
    results = [ScanResult(args.outdir, scan, args.testpath) for scan in find_scans(args.outdir, args.testlist)]
    progress = Progress(sum(len(result.views) for result in results), "export")
    for result in results:
        export_scan(result, args.workspace / result.name, check, args.conf, args.points_per_view, progress)
    progress.close()
    print(f"workspaces: {args.workspace}")


def export_scan(
    result: ScanResult, folder: Path, check: Check, conf: float, points_per_view: int, progress: Progress
) -> None:
    """Write a scan's workspace; its sparse model last, which COLMAP reads first."""
    names = {view: f"{view:08d}.jpg" for view in result.views}
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


def sparse_points(view: DepthView, image: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points [n, 3] and colours [n, 3] of at most `count` pixels with a depth, evenly spread over these."""
    known = np.flatnonzero(view.depth > 0)
    chosen = np.zeros(view.depth.size, bool)
    chosen[known[np.linspace(0, len(known) - 1, min(count, len(known))).astype(int)]] = True
    chosen = chosen.reshape(view.depth.shape)
    return lift(view.depth, chosen, view.camera), image[chosen]


def sees(view: DepthView, xyz: np.ndarray) -> np.ndarray:
    """Which points [N, 3] lie on a view's depth map, bool [N]."""
    u, v, z = view.camera.projection()[:3] @ np.vstack([xyz.T.astype(np.float64), np.ones(len(xyz))])
    height, width = view.depth.shape
    front = np.where(z > 0, z, np.inf)
    column, row = np.rint(u / front).astype(int), np.rint(v / front).astype(int)
    inside = (z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    depth = view.depth[np.where(inside, row, 0), np.where(inside, column, 0)]
    return inside & (np.abs(depth - z) < _SAME_DEPTH * z)


if __name__ == "__main__":
    run_program(main)
