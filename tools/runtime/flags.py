"""Command-line flags that several programs share, with the official names and defaults."""

import argparse
import os
from pathlib import Path

import torch

from datasets.files import DataError
from datasets.mvs import LAYOUTS
from models.cascade import READ_OUTS
from models.plane_sweep.definition import IMPLEMENTATION_VARIABLE, IMPLEMENTATIONS
from tools.runtime.program import float_list, int_list, natural_int, positive_int

# The student that comes with the project.
SHIPPED_CHECKPOINT = Path(__file__).resolve().parents[2] / "ckpt" / "kdmvs.ckpt"

AMP_TYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def add_network_flags(parser: argparse.ArgumentParser, ratios: str, read_out: str | None) -> None:
    """The cascade's settings; `ratios` is the program's official default of --depth_inter_r, `read_out` its own of that
    (None for the checkpoint's)."""
    group = parser.add_argument_group("network")
    group.add_argument("--ndepths", type=int_list, default="48,32,8", help="depth hypotheses of each stage")
    group.add_argument(
        "--depth_inter_r", type=float_list, default=ratios, help="hypothesis spacing of each stage, in depth intervals"
    )
    group.add_argument(
        "--read_out",
        choices=READ_OUTS,
        default=read_out,
        help="student's depth; official: the most probable hypothesis, local: the expected one among it and its\n"
        "neighbours, median: the one with half of the probability before it",
    )
    group.add_argument("--share_cr", action="store_true", help="share the cost regularisation between the stages")


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


def add_machine_flags(parser: argparse.ArgumentParser, amp: str) -> None:
    """Where and how the networks run; `amp` is the program's default precision."""
    group = parser.add_argument_group(
        "machine",
        f"The environment variable {IMPLEMENTATION_VARIABLE} ({', '.join(IMPLEMENTATIONS)}) names the\n"
        "implementation of the plane sweep; auto takes the fused kernels of the device.",
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N; auto takes a GPU when there is one")
    group.add_argument(
        "--amp",
        choices=("auto", *AMP_TYPES),
        default=amp,
        help="mixed precision: off is float32, auto is bf16 where the processor or GPU has matrix units for it",
    )
    group.add_argument(
        "--num_workers",
        type=natural_int,
        default=min(4, max(1, (os.cpu_count() or 1) // 2)),
        help="processes (prediction: threads) that load data, 0 for none",
    )
    group.add_argument("--pin_m", action="store_true", help="pin the host memory of training batches")


def has_amx() -> bool:
    """Whether this machine's CPU multiplies bf16 matrices in tiles; torch tells so by a name that may change."""
    ask = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return ask is not None and ask()


def resolved_amp(amp: str, device: torch.device) -> str:
    """The key of AMP_TYPES that a value of --amp means on a device."""
    if amp != "auto":
        return amp
    # Without AMX a CPU's float32 convolutions are as fast as its bf16 ones, measured with AVX512-BF16.
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else has_amx()
    return "bf16" if fast else "off"


def add_dataset_flag(parser: argparse.ArgumentParser, default: str) -> None:
    """The dataset's layout."""
    parser.add_argument(
        "--dataset",
        choices=LAYOUTS,
        default=default,
        help="dtu_yao: DTU training layout; general_eval: test layout, also for own scenes; blended: BlendedMVS; "
        "tanks: the test layout with Tanks and Temples' camera files",
    )


def check_ndepths(args: argparse.Namespace) -> None:
    """Raise DataError for settings that the cascade refuses."""
    if len(args.ndepths) != 3 or any(count < 8 or count % 8 for count in args.ndepths):
        raise DataError(f"--ndepths {','.join(map(str, args.ndepths))}: needs three multiples of 8")
    if len(args.depth_inter_r) != 3 or any(ratio <= 0 for ratio in args.depth_inter_r):
        raise DataError(f"--depth_inter_r {','.join(map(str, args.depth_inter_r))}: needs three positive numbers")
    if args.interval_scale <= 0:
        raise DataError(f"--interval_scale {args.interval_scale}: must be positive")
    if args.numdepth < 2:
        raise DataError(f"--numdepth {args.numdepth}: a range needs at least two depth values")
