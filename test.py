"""Depth of every view, then one fused point cloud per scan.

    python test.py --testpath DTU_TEST --testlist lists/dtu/test.txt --loadckpt model.ckpt --outdir OUT
    python test.py --testpath_single_scene MY_SCENE --loadckpt model.ckpt --outdir OUT
    python test.py ... --skip_depth --filter_method dynamic        (fuse the depth maps in --outdir again)
    python test.py ... --skip_depth --bbox=-50,-50,400,50,50,900 --voxel 2 --normals        (crop, thin, add normals)
    python test.py ... --refine 3                    (better depth at edges and in poor texture, from the other views')

Clouds: <outdir>/gipuma_pcd/mvsnet%03d_l3.ply for scans named scan<number>, <outdir>/gipuma_pcd/<scan>.ply otherwise.
A rerun predicts only the views that are missing, or were made from other weights, settings, cameras or images. With
--refine depth_est/ holds the refined maps and depth_raw/ the network's, which make the better clouds: they are fused
unless --fuse_depth says otherwise. Under torchrun each process takes its share of views and scans.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from datasets.results import check_cloud_names, cloud_path
from tools.prediction.flags import (
    add_fusion_flags,
    add_prediction_flags,
    add_scan_flags,
    check_scan_flags,
    fusion_settings,
    open_scans,
    prediction_settings,
)
from tools.prediction.official import add_official_flags, apply_official_flags
from tools.prediction.settings import FusionSettings, PredictionSettings
from tools.runtime.flags import SHIPPED_CHECKPOINT, layout_name
from tools.runtime.program import Formatter, natural_int, run_program


def build_parser() -> argparse.ArgumentParser:
    """The official flags, and --skip_depth, --device, --amp, --num_workers, --fusibile_timeout, those for clouds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter)
    parser.add_argument(
        "--dataset",
        type=layout_name,
        choices=("general_eval", "tanks", "blended", "as_written"),
        default="general_eval",
        help="the test layout; its camera files with depth_min depth_max; BlendedMVS; camera files at their word",
    )
    add_scan_flags(parser, "folder of scans in the test layout")
    parser.add_argument("--loadckpt", default=SHIPPED_CHECKPOINT, help="checkpoint of a teacher or a student")
    parser.add_argument("--outdir", type=Path, default="outputs", help="folder for the results")
    parser.add_argument("--skip_depth", action="store_true", help="fuse the depth maps that are in --outdir already")
    add_prediction_flags(parser, PredictionSettings())
    parser.add_argument(
        "--refine",
        type=natural_int,
        default=0,
        help="passes in which pixels take the depth of those around them that the other views support most",
    )
    add_fusion_flags(parser, FusionSettings())
    add_official_flags(parser)
    return parser


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, PredictionSettings, FusionSettings]:
    """The flags, and how they say to predict and to fuse; DataError for values that cannot work."""
    args = build_parser().parse_args(argv)
    apply_official_flags(args)
    check_scan_flags(args)
    return args, prediction_settings(args, PredictionSettings(), light=None), fusion_settings(args)


def main() -> None:
    """Parse the flags, predict and fuse."""
    args, settings, fusion = parse()
    if fusion.program and fusion.method == "gipuma":
        from fusion.fusibile import check_program

        check_program(fusion.program, fusion.cloud)

    from datasets.mvs import MVSDataset
    from fusion.fusibile import check_sizes
    from tools.prediction.fuse import fuse, why_empty
    from tools.prediction.predictor import predict, sample_settings
    from tools.prediction.refine import refine
    from tools.runtime import distributed

    device = distributed.start(args.device, sweeps=not args.skip_depth)
    layout, scans = open_scans(args)
    check_cloud_names(scans)
    if not args.skip_depth:
        dataset = MVSDataset(layout, scans, sample_settings(settings))
        if fusion.program and fusion.method == "gipuma":
            for scan in scans:
                check_sizes(scan, dataset.sizes(scan))
        predict(args.loadckpt, dataset, args.outdir, settings, device, refined=args.refine > 0)
    if args.refine:
        refine(args.outdir, layout, scans, args.refine)
    if fusion.method != "none":
        for scan in distributed.share(scans):
            points = fuse(args.outdir, layout, scan, fusion, device)
            print(f"{scan}: {points} points in {cloud_path(args.outdir, scan)}", flush=True)
            if points == 0:
                print(f"{scan}: {why_empty(fusion)}", flush=True)
    distributed.barrier()
    distributed.finish()


if __name__ == "__main__":
    run_program(main)
