"""Command-line flags that several programs share, with the official names and defaults."""

import argparse
import os
from pathlib import Path
from typing import Any

from datasets.layouts import LAYOUTS
from models.plane_sweep import IMPLEMENTATION_VARIABLE, IMPLEMENTATIONS
from models.settings import AUTO_RATIO, READ_OUTS, SPACINGS, VIEW_WEIGHTS
from tools.runtime.limits import MOST_WORKERS, PRECISIONS
from tools.runtime.program import float_list, int_list, positive_int, whole_number

# The student that comes with the project.
SHIPPED_CHECKPOINT = Path(__file__).resolve().parents[2] / "ckpt" / "kdmvs.ckpt"

# The official release's names of data sets, and the layouts that they mean.
OFFICIAL_DATASETS = {
    "dtu_ut": "dtu_yao",
    "dtu_kd": "dtu_yao",
    "dtu_yao_test": "dtu_yao",
    "dtu_yao_eval": "general_eval",
}


def add_network_flags(parser: argparse.ArgumentParser, ratios: str) -> None:
    """The cascade's settings, by default those that the checkpoint tells; `ratios` are the program's official
    --depth_inter_r, for checkpoints that tell none or the training's official ones."""
    group = parser.add_argument_group("network (by default as the checkpoint tells; official ones tell nothing)")
    group.add_argument("--ndepths", type=int_list, help="depth hypotheses of each stage (official: 48,32,8)")
    group.add_argument(
        "--depth_inter_r",
        type=float_list,
        help=f"hypothesis spacing of each stage, in depth intervals (official: {ratios})",
    )
    group.add_argument(
        "--spacing",
        choices=SPACINGS,
        help="hypotheses evenly in depth (linear, official), in inverse depth, or auto: in inverse depth where the\n"
        f"far end of a range is over {AUTO_RATIO:g} times the near one",
    )
    group.add_argument(
        "--read_out",
        choices=READ_OUTS,
        help="student's depth; official: the most probable hypothesis, local: the expected one among it and its\n"
        "neighbours, median: the one with half of the probability before it",
    )
    group.add_argument(
        "--view_weights",
        choices=VIEW_WEIGHTS,
        help="how much the source views count: equal (official), or learned: per pixel, by how well they agree",
    )
    group.add_argument(
        "--share_cr", action="store_true", default=None, help="share the cost regularisation between the stages"
    )
    group.add_argument("--cr_base_chs", type=int_list, help="base channels of each 3D U-Net (official: 8,8,8)")


def network_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of NetworkSettings that the flags name, None where a flag was not given."""
    return {
        "ndepths": args.ndepths,
        "depth_interval_ratios": args.depth_inter_r,
        "spacing": args.spacing,
        "share_cr": args.share_cr,
        "read_out": args.read_out,
        "cr_base_chs": args.cr_base_chs,
        "view_weights": args.view_weights,
    }


def add_depth_flags(parser: argparse.ArgumentParser, interval_scale: float) -> None:
    """The depth hypotheses' number and spacing."""
    group = parser.add_argument_group("depth range")
    group.add_argument("--numdepth", type=positive_int, default=192, help="depth values over the range")
    group.add_argument(
        "--interval_scale", type=float, default=interval_scale, help="factor on the camera files' depth interval"
    )


def add_size_flags(parser: argparse.ArgumentParser, max_w: int, max_h: int) -> None:
    """The largest image size, for layouts whose images are scaled."""
    group = parser.add_argument_group("image size (test layout; DTU training images are taken as they are)")
    group.add_argument("--max_w", type=positive_int, default=max_w, help="largest image width, pixels")
    group.add_argument("--max_h", type=positive_int, default=max_h, help="largest image height, pixels")


def default_workers() -> int:
    """How many processes or threads load data unless told otherwise."""
    return min(4, max(1, (os.cpu_count() or 1) // 2))


def add_machine_flags(parser: argparse.ArgumentParser, amp: str) -> None:
    """Where and how the networks run; `amp` is the program's default precision."""
    group = parser.add_argument_group(
        "machine",
        f"The environment variable {IMPLEMENTATION_VARIABLE} ({', '.join(IMPLEMENTATIONS)}) names the\n"
        "implementation of the plane sweep; auto takes the fused kernels of the device.",
    )
    group.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:N, mps or xpu; auto takes a CUDA GPU when there is one"
    )
    group.add_argument(
        "--amp",
        choices=PRECISIONS,
        default=amp,
        help="mixed precision: off is float32, auto is bf16 where the processor or GPU has matrix units for it",
    )
    group.add_argument(
        "--num_workers",
        "--num_worker",
        type=whole_number(0, MOST_WORKERS),
        default=default_workers(),
        help="processes (prediction: threads) that load data, 0 for none",
    )
    group.add_argument("--pin_m", action="store_true", help="pin the host memory of training batches")


def add_dataset_flag(parser: argparse.ArgumentParser, default: str) -> None:
    """The dataset's layout."""
    parser.add_argument(
        "--dataset",
        type=layout_name,
        choices=LAYOUTS,
        default=default,
        help="dtu_yao: DTU training layout; general_eval: test layout, also for own scenes; blended: BlendedMVS; "
        "tanks: the test layout with Tanks and Temples' camera files; the release's dtu_ut, dtu_kd, dtu_yao_test and "
        "dtu_yao_eval are understood",
    )


def layout_name(text: str) -> str:
    """The layout that a value of --dataset means, which may be the release's name."""
    return OFFICIAL_DATASETS.get(text, text)
