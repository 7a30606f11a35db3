"""Command-line flags of prediction, fusion and labels, and the settings that they say. Light: no torch."""

import argparse
import dataclasses

from datasets.files import DataError
from datasets.layouts import LAYOUTS
from datasets.layouts.base import Layout
from tools.prediction.cloud_flags import add_cloud_flags, cloud_options
from tools.prediction.settings import (
    CHECKS,
    CONFIDENCES,
    FILTERS,
    FusionSettings,
    LabelSettings,
    NetworkOverrides,
    PredictionSettings,
    SweepSettings,
)
from tools.runtime.flags import (
    add_depth_flags,
    add_machine_flags,
    add_network_flags,
    add_size_flags,
    network_settings,
)
from tools.runtime.program import finite_float, int_list, natural_int, positive_float, positive_int

FUSED_DEPTHS = ("raw", "refined")


def add_scan_flags(parser: argparse.ArgumentParser, testpath: str) -> None:
    """Where the scans to predict are; `testpath` is the help of --testpath. --testlist is one of the other flags."""
    parser.add_argument("--testpath", help=testpath)
    parser.add_argument("--testpath_single_scene", help="one scan's own folder, instead of --testpath and --testlist")


def check_scan_flags(args: argparse.Namespace) -> None:
    """Raise DataError unless the flags say where the scans are."""
    if not args.testpath and not args.testpath_single_scene:
        raise DataError("--testpath or --testpath_single_scene must say where the scans are")


def open_scans(args: argparse.Namespace) -> tuple[Layout, list[str]]:
    """The layout and the names of the scans that the flags name."""
    if args.testpath_single_scene:
        layout = LAYOUTS[args.dataset].of_one_scan(args.testpath_single_scene)
        return layout, layout.scans("all")
    layout = LAYOUTS[args.dataset](args.testpath)
    return layout, layout.scans(args.testlist)


def add_prediction_flags(
    parser: argparse.ArgumentParser, defaults: PredictionSettings, several_scans: bool = True
) -> None:
    """The flags that say how depth is predicted; with `several_scans` also of which."""
    if several_scans:
        parser.add_argument("--testlist", default="all", help='file of scan names, or "all"')
    parser.add_argument(
        "--batch_size", type=positive_int, default=defaults.batch_size, help="reference views predicted together"
    )
    parser.add_argument(
        "--num_view", type=int, default=defaults.views, help="views used: the reference and its sources"
    )
    add_network_flags(parser, ",".join(f"{ratio:g}" for ratio in defaults.official_ratios))
    parser.add_argument(
        "--confidence",
        choices=CONFIDENCES,
        default=defaults.confidence,
        help="what the confidence files hold: the product of the stages' confidences, or the last stage's own",
    )
    add_depth_flags(parser, defaults.interval_scale)
    add_size_flags(parser, *defaults.max_size)
    parser.add_argument(
        "--cache_gb", type=float, default=defaults.cache_gb, help="memory for features of views used again, in GB"
    )
    add_machine_flags(parser, amp=defaults.amp)
    parser.set_defaults(num_workers=defaults.workers)


def prediction_settings(
    args: argparse.Namespace, defaults: PredictionSettings, light: int | None
) -> PredictionSettings:
    """What the flags say; raises DataError for values that cannot be."""
    overrides = network_settings(args)
    known = {field.name: overrides.get(field.name) for field in dataclasses.fields(NetworkOverrides)}
    return dataclasses.replace(
        defaults,
        views=args.num_view,
        numdepth=args.numdepth,
        interval_scale=args.interval_scale,
        max_size=(args.max_w, args.max_h),
        light=light,
        network=NetworkOverrides(**known),
        confidence=args.confidence,
        amp=args.amp,
        cache_gb=args.cache_gb,
        batch_size=args.batch_size,
        workers=args.num_workers,
    )


def add_fusion_flags(parser: argparse.ArgumentParser, defaults: FusionSettings) -> None:
    """How depth maps become a cloud, and what becomes of its points."""
    group = parser.add_argument_group("fusion")
    group.add_argument(
        "--filter_method",
        choices=FILTERS,
        default=defaults.method,
        help="gipuma: fusibile's algorithm; normal, dynamic: cross-view checks; none: no cloud",
    )
    group.add_argument(
        "--fuse_depth",
        choices=FUSED_DEPTHS,
        default=FUSED_DEPTHS[defaults.refined],
        help="after --refine: fuse the network's depth, or the refined one",
    )
    group.add_argument(
        "--fusibile_exe_path",
        default=defaults.program,
        help="a CUDA fusibile program; without it the built-in fuser",
    )
    group.add_argument(
        "--fusibile_timeout", type=positive_float, default=defaults.time_limit, help="seconds a fusibile run may take"
    )
    group.add_argument(
        "--prob_threshold", type=finite_float, default=defaults.prob_threshold, help="gipuma: least confidence"
    )
    group.add_argument(
        "--disp_threshold",
        type=finite_float,
        default=defaults.disp_threshold,
        help="gipuma: largest disparity difference, pixels",
    )
    group.add_argument(
        "--agree_widths",
        type=finite_float,
        default=defaults.agree_widths,
        help="gipuma: depths agree, too, that differ by less than so many widths of a pixel there; 0: as in fusibile",
    )
    group.add_argument(
        "--num_consistent",
        type=finite_float,
        default=defaults.num_consistent,
        help="gipuma: least number of agreeing views",
    )
    group.add_argument(
        "--fusion_sources",
        type=natural_int,
        default=defaults.sources,
        help="gipuma: compare each view with so many others at most, those that see most of the same; 0: with all",
    )
    group.add_argument("--conf", type=finite_float, default=defaults.conf, help="normal, dynamic: least confidence")
    group.add_argument(
        "--thres_view", type=natural_int, default=defaults.thres_view, help="normal: least number of agreeing views"
    )
    add_cloud_flags(parser, defaults.cloud)


def fusion_settings(args: argparse.Namespace) -> FusionSettings:
    """What the flags say; raises DataError for values that cannot be."""
    return FusionSettings(
        method=args.filter_method,
        prob_threshold=args.prob_threshold,
        disp_threshold=args.disp_threshold,
        agree_widths=args.agree_widths,
        num_consistent=args.num_consistent,
        sources=args.fusion_sources,
        conf=args.conf,
        thres_view=args.thres_view,
        program=args.fusibile_exe_path,
        time_limit=args.fusibile_timeout,
        refined=args.fuse_depth == "refined",
        cloud=cloud_options(args),
    )


def add_refine_flag(parser: argparse.ArgumentParser, default: int = 0) -> None:
    """Whether depth is refined before it is fused."""
    parser.add_argument(
        "--refine",
        type=natural_int,
        default=default,
        help="passes of refinement: in the last one pixels take the surface that the other views see there, or that\n"
        "their surroundings continue, or at which the photos agree; in those before it the depth of those around them\n"
        "that the others support most",
    )


def add_label_flags(parser: argparse.ArgumentParser, defaults: LabelSettings, by_round: bool = False) -> None:
    """How predictions become labels; `by_round`: --thres_view takes a number for each round."""
    add = parser.add_argument
    add("--conf", type=finite_float, default=defaults.conf, help="keep pixels with a confidence above this, 0 to 1")
    add(
        "--reproject_dist",
        type=finite_float,
        default=defaults.reproject_dist,
        help="normal check: largest reprojection error in pixels",
    )
    add(
        "--depth_diff",
        type=finite_float,
        default=defaults.depth_diff,
        help="normal check: largest difference of depth, relative to it",
    )
    add(
        "--thres_view",
        type=int_list if by_round else natural_int,
        default=str(defaults.thres_view) if by_round else defaults.thres_view,
        help="normal check: least number of source views that agree"
        + (", in every round, or 7,5,5 round by round; the last one holds for those that follow" if by_round else ""),
    )
    add("--check", choices=CHECKS, default=defaults.check, help="kind of check; dynamic has its own levels")


def label_settings(args: argparse.Namespace) -> LabelSettings:
    """What the flags say; raises DataError for values that cannot be."""
    return LabelSettings(args.check, args.conf, args.reproject_dist, args.depth_diff, args.thres_view)


def label_settings_by_round(args: argparse.Namespace) -> tuple[LabelSettings, ...]:
    """What the flags say, for one round after the other; raises DataError for values that cannot be."""
    shared = (args.check, args.conf, args.reproject_dist, args.depth_diff)
    return tuple(LabelSettings(*shared, thres_view) for thres_view in args.thres_view)


def add_sweep_flags(parser: argparse.ArgumentParser, defaults: SweepSettings) -> None:
    """What the plain plane sweep tries, and how it scores."""
    add = parser.add_argument
    add("--light_idx", type=int, default=defaults.light, help="light whose images are used (DTU training layout)")
    add("--num_view", type=int, default=defaults.views, help="views used: the reference and its sources")
    add("--hypotheses", type=positive_int, default=defaults.hypotheses, help="depths that are tried")
    add("--window", type=positive_int, default=defaults.window, help="side of the windows, pixels; odd")
    add("--best", type=positive_int, default=defaults.best, help="sources whose scores count, the best ones")
    add_depth_flags(parser, defaults.interval_scale)
    add_size_flags(parser, *defaults.max_size)


def sweep_settings(args: argparse.Namespace) -> SweepSettings:
    """What the flags say; raises DataError for values that cannot be."""
    size = (args.max_w, args.max_h)
    depths = (args.numdepth, args.interval_scale)
    return SweepSettings(args.num_view, *depths, size, args.light_idx, args.hypotheses, args.window, args.best)
