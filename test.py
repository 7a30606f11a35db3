"""Depth of every view, then one fused point cloud per scan.

    python test.py --testpath DTU_TEST --testlist lists/dtu/test.txt --loadckpt model.ckpt --outdir OUT
    python test.py --testpath_single_scene MY_SCENE --loadckpt model.ckpt --outdir OUT
    python test.py ... --skip_depth --filter_method dynamic        (fuse the depth maps in --outdir again)
    python test.py ... --skip_depth --bbox=-50,-50,400,50,50,900 --voxel 2 --normals        (crop, thin, add normals)
    python test.py ... --refine 3                    (better depth at edges and in poor texture, from the other views')

Clouds: <outdir>/gipuma_pcd/mvsnet%03d_l3.ply for scans named scan<number>, <outdir>/gipuma_pcd/<scan>.ply otherwise.
A rerun predicts only the views that are missing, or were made from other weights, settings, cameras or images. With
--refine depth_est/ holds the refined maps and depth_raw/ the network's, of which clouds are made unless --fuse_depth
says otherwise. Under torchrun each process takes its share of views and scans.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from datasets.files import DataError
from datasets.results import is_refined
from tools.prediction.flags import (
    add_fusion_flags,
    add_prediction_flags,
    add_refine_flag,
    add_scan_flags,
    check_scan_flags,
    fusion_settings,
    open_scans,
    prediction_settings,
)
from tools.prediction.official import add_official_flags, apply_official_flags
from tools.prediction.settings import FusionSettings, PredictionSettings
from tools.runtime.flags import SHIPPED_CHECKPOINT, layout_name
from tools.runtime.program import Formatter, run_program


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
    add_refine_flag(parser)
    add_fusion_flags(parser, FusionSettings())
    add_official_flags(parser)
    return parser


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, PredictionSettings, FusionSettings]:
    """The flags, and how they say to predict and to fuse; DataError for values that cannot work."""
    args = build_parser().parse_args(argv)
    apply_official_flags(args)
    check_scan_flags(args)
    return args, prediction_settings(args, PredictionSettings(), light=None), fusion_settings(args)


def check_refined(args: argparse.Namespace, fusion: FusionSettings, scans: Sequence[str]) -> None:
    """Raise DataError where refined depth shall be fused, and there is none, and none is made: raw depth is another."""
    if fusion.refined and fusion.method != "none" and not args.refine:
        for scan in scans:
            if not (args.skip_depth and is_refined(args.outdir / scan)):
                raise DataError(
                    f"--fuse_depth refined: without --refine there is no refined depth of {scan}; give both"
                )


def main() -> None:
    """Parse the flags, predict and fuse."""
    args, settings, fusion = parse()
    if fusion.program and fusion.method == "gipuma":
        from fusion.fusibile import check_program

        check_program(fusion.program, fusion.cloud)

    from tools.prediction.testing import predict_and_fuse
    from tools.runtime import distributed

    device = distributed.start(args.device, sweeps=not args.skip_depth)
    layout, scans = open_scans(args)
    check_refined(args, fusion, scans)
    given = (args.loadckpt, layout, scans, args.outdir, settings, fusion, device)
    predict_and_fuse(*given, passes=args.refine, skip_depth=args.skip_depth)
    distributed.finish()


if __name__ == "__main__":
    run_program(main)
