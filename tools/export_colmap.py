"""Depth and normals of a result as dense workspaces of COLMAP, so that its programs and other meshers can go on.

    python tools/export_colmap.py --outdir OUT --testpath DTU_TEST --workspace DENSE
    colmap stereo_fusion --workspace_path DENSE/scan1 --output_path DENSE/scan1/fused.ply
    colmap poisson_mesher --input_path DENSE/scan1/fused.ply --output_path DENSE/scan1/mesh.ply

OUT is an --outdir of test.py or tools/predict.py. Writes DENSE/<scan> with images/, sparse/ (text), stereo/depth_maps/,
stereo/normal_maps/ and both .cfg files (datasets/formats/colmap_workspace.py tells the formats). The photometric maps
hold the depths of at least --conf confidence, the geometric ones those that other views confirm as well. The sparse
points are drawn from the geometric depth maps: COLMAP finds overlapping images by the points that they share.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import _checkout  # noqa: F401

from datasets.files import DataError
from datasets.results import find_scans
from tools.runtime.program import Formatter, Progress, fraction, natural_int, run_program, whole_number

_MOST_POINTS = 10_000_000  # drawn from a view


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; DataError for values that cannot work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--outdir", type=Path, required=True, help="results of test.py or tools/predict.py")
    parser.add_argument("--testlist", default="all", help='file of scan names, or "all" that were predicted')
    parser.add_argument(
        "--testpath", type=Path, help="pair files of the scans; else each view's nearest are its sources"
    )
    parser.add_argument("--workspace", type=Path, required=True, help="folder for the workspaces, one per scan")
    parser.add_argument("--conf", type=fraction, default=0.05, help="least confidence of a depth, 0 to 1")
    parser.add_argument("--check", choices=("normal", "dynamic"), default="normal", help="check of the geometric maps")
    parser.add_argument(
        "--thres_view", type=natural_int, default=3, help="normal check: least number of agreeing views"
    )
    parser.add_argument(
        "--points_per_view", type=whole_number(1, _MOST_POINTS), default=500, help="sparse points drawn from each view"
    )
    return parser.parse_args(argv)


def main() -> None:
    """Parse the flags, write every scan's workspace."""
    args = parse()
    if args.testpath is not None and not args.testpath.is_dir():
        raise DataError(f"{args.testpath}: no such folder; --testpath must hold the scans' pair files")

    from fusion.consistency import dynamic_check, normal_check
    from tools.evaluation.scan_results import ScanResult
    from tools.photos.workspace import export_scan

    check = normal_check(thres_view=args.thres_view) if args.check == "normal" else dynamic_check()
    results = [ScanResult(args.outdir, scan, args.testpath) for scan in find_scans(args.outdir, args.testlist)]
    progress = Progress(sum(len(result.views) for result in results), "export")
    counts = {}
    for result in results:
        folder = args.workspace / result.name
        counts[result.name] = export_scan(result, folder, check, args.conf, args.points_per_view, progress)
    progress.close()
    for name in (name for name, count in counts.items() if count == 0):
        print(f"{name}: no depth is confirmed, so its model has no point; lower --conf or --thres_view")
    print(f"workspaces: {args.workspace}")


if __name__ == "__main__":
    run_program(main)
