"""Depth of every view, then one fused point cloud per scan.

    python test.py --testpath DTU_TEST --testlist lists/dtu/test.txt --loadckpt model.ckpt --outdir OUT
    python test.py --testpath_single_scene MY_SCENE --loadckpt model.ckpt --outdir OUT
    python test.py ... --skip_depth --filter_method dynamic        (fuse the depth maps in --outdir again)
    python test.py ... --skip_depth --bbox=-50,-50,400,50,50,900 --voxel 2 --normals        (crop, thin, add normals)
    python test.py ... --refine 3                    (better depth at edges and in poor texture, from the other views')

Clouds: <outdir>/gipuma_pcd/mvsnet%03d_l3.ply for scans named scan<number>, <outdir>/gipuma_pcd/<scan>.ply otherwise.
A rerun predicts only the views that are missing. With --refine depth_est/ holds the refined maps and depth_raw/ the
network's. Under torchrun each process takes its share of views and scans.
"""

import argparse
from pathlib import Path

import torch

from datasets.files import DataError
from datasets.layouts import LAYOUTS
from datasets.layouts.base import Layout
from datasets.mvs import MVSDataset
from datasets.results import cloud_path
from fusion.builtin import fuse_scan
from fusion.clouds import CloudOptions
from fusion.consistency import dynamic_check, normal_check
from fusion.filters import fuse_scan_with_filter
from fusion.fusibile import check_program, fuse_scan_with_binary
from tools.prediction.predictor import add_prediction_flags, predict, prediction_settings
from tools.prediction.refine import refine
from tools.runtime import distributed
from tools.runtime.flags import SHIPPED_CHECKPOINT
from tools.runtime.program import Formatter, finite_float, float_list, natural_int, positive_float, run_program


def build_parser() -> argparse.ArgumentParser:
    """The official flags, and --skip_depth, --device, --amp, --num_workers, --fusibile_timeout, those for clouds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument(
        "--dataset",
        choices=("general_eval", "tanks", "blended", "as_written"),
        default="general_eval",
        help="the test layout; its camera files with depth_min depth_max; BlendedMVS; camera files at their word",
    )
    parser.add_argument("--testpath", help="folder of scans in the test layout")
    parser.add_argument("--testpath_single_scene", help="one scan's own folder, instead of --testpath and --testlist")
    parser.add_argument("--loadckpt", default=SHIPPED_CHECKPOINT, help="checkpoint of a teacher or a student")
    parser.add_argument("--outdir", default="outputs", help="folder for the results")
    parser.add_argument("--skip_depth", action="store_true", help="fuse the depth maps that are in --outdir already")
    add_prediction_flags(parser, "4,1,0.4", 1152, 864)
    parser.add_argument(
        "--refine",
        type=natural_int,
        default=0,
        help="passes in which pixels take the depth of those around them that the other views support most",
    )

    group = parser.add_argument_group("fusion")
    group.add_argument(
        "--filter_method",
        choices=("gipuma", "normal", "dynamic", "none"),
        default="gipuma",
        help="gipuma: fusibile's algorithm; normal, dynamic: cross-view checks; none: no cloud",
    )
    group.add_argument("--fusibile_exe_path", default="", help="a CUDA fusibile program; without it the built-in fuser")
    group.add_argument("--fusibile_timeout", type=positive_float, default=3600, help="seconds a fusibile run may take")
    group.add_argument("--prob_threshold", type=finite_float, default=0.01, help="gipuma: least confidence")
    group.add_argument(
        "--disp_threshold", type=finite_float, default=0.1, help="gipuma: largest disparity difference, pixels"
    )
    group.add_argument("--num_consistent", type=finite_float, default=2, help="gipuma: least number of agreeing views")
    group.add_argument("--conf", type=finite_float, default=0.05, help="normal, dynamic: least confidence")
    group.add_argument("--thres_view", type=int, default=5, help="normal: least number of agreeing views")
    add_cloud_flags(parser)
    return parser


def add_cloud_flags(parser: argparse.ArgumentParser) -> None:
    """What becomes of the fused points, in this order."""
    group = parser.add_argument_group("clouds (world units, those of the camera files)")
    group.add_argument("--normals", action="store_true", help="write normals, estimated from the depth maps")
    group.add_argument(
        "--bbox", type=float_list, help="keep the points in x0,y0,z0,x1,y1,z1; write --bbox=-1,... before a minus"
    )
    group.add_argument("--voxel", type=float, help="keep the mean point of every cube of this side")
    group.add_argument("--max_points", type=int, help="keep so many points at most, drawn at random")
    group.add_argument("--cloud_seed", type=natural_int, default=0, help="seed of the draw for --max_points")


def cloud_options(args: argparse.Namespace) -> CloudOptions:
    """What the flags ask of clouds; raises DataError, before any work, for what cannot be."""
    options = CloudOptions(args.normals, args.bbox, args.voxel, args.max_points, args.cloud_seed)
    if args.fusibile_exe_path and args.filter_method == "gipuma":
        check_program(args.fusibile_exe_path, options)
    return options


def open_scans(args: argparse.Namespace) -> tuple[Layout, list[str]]:
    """The layout and the names of the scans to test."""
    if args.testpath_single_scene:
        layout = LAYOUTS[args.dataset].of_one_scan(args.testpath_single_scene)
        return layout, layout.scans("all")
    if not args.testpath:
        raise DataError("--testpath or --testpath_single_scene must say where the scans are")
    layout = LAYOUTS[args.dataset](args.testpath)
    return layout, layout.scans(args.testlist)


def fuse(args: argparse.Namespace, layout: Layout, scan: str, options: CloudOptions, device: torch.device) -> int:
    """Fuse one scan's depth maps as the flags say; returns the number of points."""
    scan_dir, ply = Path(args.outdir) / scan, cloud_path(Path(args.outdir), scan)
    if args.filter_method in ("normal", "dynamic"):
        check = normal_check(thres_view=args.thres_view) if args.filter_method == "normal" else dynamic_check()
        return fuse_scan_with_filter(scan_dir, layout.pair_path(scan), ply, args.conf, check, options)
    views = [view for view, sources in layout.pairs(scan) if sources]
    thresholds = (args.prob_threshold, args.disp_threshold, args.num_consistent)
    if args.fusibile_exe_path:
        return fuse_scan_with_binary(
            scan_dir, views, ply, *thresholds, args.fusibile_exe_path, args.fusibile_timeout, options
        )
    return fuse_scan(scan_dir, views, ply, *thresholds, device if device.type == "cuda" else None, options)


def why_empty(args: argparse.Namespace) -> str:
    """What to try when no point survived."""
    advice = {
        "gipuma": "lower --prob_threshold or --num_consistent, or raise --disp_threshold",
        "normal": "lower --conf or --thres_view",
        "dynamic": "lower --conf",
    }[args.filter_method]
    return f"no point survived; {advice}" + (", or enlarge --bbox" if args.bbox else "")


def main() -> None:
    """Parse the flags, predict and fuse."""
    args = build_parser().parse_args()
    settings, options = prediction_settings(args, light=None), cloud_options(args)
    device = distributed.start(args.device)
    layout, scans = open_scans(args)
    if not args.skip_depth:
        predict(args, MVSDataset(layout, scans, settings), device, refined=args.refine > 0)
    if args.refine:
        refine(Path(args.outdir), layout, scans, args.refine)
    if args.filter_method != "none":
        for scan in distributed.share(scans):
            points = fuse(args, layout, scan, options, device)
            print(f"{scan}: {points} points in {cloud_path(Path(args.outdir), scan)}", flush=True)
            if points == 0:
                print(f"{scan}: {why_empty(args)}", flush=True)
    distributed.barrier()
    distributed.finish()


if __name__ == "__main__":
    run_program(main)
