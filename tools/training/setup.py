"""What both training programs do before the loop (tools.training.trainer): flags, datasets, network."""

import argparse
import dataclasses
import datetime
import math
import random
from pathlib import Path

import numpy as np
import torch

from datasets.files import DataError
from datasets.mvs import MVSDataset, Settings, open_dataset
from models import CascadeMVSNet, NetworkSettings
from models.checkpoint import checkpoint_settings, read_checkpoint
from tools.runtime import distributed
from tools.runtime.flags import (
    add_dataset_flag,
    add_depth_flags,
    add_machine_flags,
    add_network_flags,
    add_size_flags,
    check_depth_flags,
    network_settings,
)
from tools.runtime.program import Formatter, float_list, int_list, natural_int, positive_int
from tools.training.resume import CheckpointFolder
from tools.training.schedule import parse_milestones


def training_parser(description: str, epochs: int, lrepochs: str) -> argparse.ArgumentParser:
    """The flags that both training programs share, official names and defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=Formatter)
    parser.add_argument("--mode", choices=("train", "test", "profile"), default="train", help="test: only evaluate")
    add_dataset_flag(parser, "dtu_yao")
    parser.add_argument("--trainpath", required=True, help="folder of the training data")
    parser.add_argument("--trainlist", required=True, help='file of scan names, or "all"')
    parser.add_argument("--testlist", help="scans to evaluate on where ground truth exists; without it, no evaluation")
    parser.add_argument("--testpath", help="folder of the evaluation data; without it, --trainpath")
    parser.add_argument(
        "--select",
        action="store_true",
        help="score every epoch on held-out scans without ground truth; keep the best as model_best.ckpt",
    )
    parser.add_argument("--selectlist", help="held-out scans for --select; without it, --testlist")
    parser.add_argument(
        "--select_thres_view", type=positive_int, default=3, help="--select: sources that must confirm a pixel"
    )
    parser.add_argument("--logdir", required=True, help="folder for checkpoints and event files")
    parser.add_argument("--batch_size", type=positive_int, default=1, help="samples per process and step")
    parser.add_argument("--epochs", type=positive_int, default=epochs, help="passes over the training set")
    parser.add_argument("--max_steps", type=natural_int, default=0, help="stop after this many steps, 0 for no limit")
    parser.add_argument("--max_minutes", type=float, default=0, help="stop after this time, 0 for no limit")
    parser.add_argument("--lr", type=float, default=0.001, help="Adam's learning rate")
    parser.add_argument("--lrepochs", default=lrepochs, help="epochs at which the rate is divided, and the divisor")
    parser.add_argument(
        "--warmup_steps", type=natural_int, default=500, help="steps from a third of the rate to all of it"
    )
    parser.add_argument(
        "--freeze_bn",
        type=float,
        default=1,
        help="share of the steps after which BatchNorm uses its running statistics, as in prediction; 1: never",
    )
    parser.add_argument("--wd", type=float, default=0.0001, help="weight decay")
    parser.add_argument("--nviews", type=int, default=5, help="views per sample: the reference and its sources")
    parser.add_argument("--dlossw", type=float_list, default="1,1,1", help="loss weight of each stage")
    parser.add_argument("--cr_base_chs", type=int_list, help="base channels of each 3D U-Net (official: 8,8,8)")
    parser.add_argument(
        "--grad_method",
        choices=("detach", "undetach"),
        default="detach",
        help="gradient from a stage to the one before",
    )
    parser.add_argument(
        "--checkpoint_stages",
        action="store_true",
        help="less memory, more time: compute cost volumes and 3D U-Nets again in the backward pass",
    )
    parser.add_argument("--loadckpt", help="start from this checkpoint's weights, a teacher's or a student's")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the newest checkpoint in --logdir as if never stopped"
    )
    parser.add_argument("--summary_freq", type=positive_int, default=50, help="steps between two log entries")
    parser.add_argument("--save_freq", type=positive_int, default=1, help="epochs between two checkpoints")
    parser.add_argument(
        "--save_steps",
        type=natural_int,
        default=0,
        help="steps between two checkpoints inside an epoch, 0 for none; they replace each other",
    )
    parser.add_argument("--keep", type=natural_int, default=0, help="checkpoints to keep, the newest; 0 for all")
    parser.add_argument("--eval_freq", type=positive_int, default=1, help="epochs between two evaluations")
    parser.add_argument(
        "--max_bad_steps", type=positive_int, default=10, help="stop after so many non-finite losses in a row"
    )
    parser.add_argument(
        "--augment", action="store_true", help="random colour changes, the same for all views of a sample"
    )
    parser.add_argument("--seed", type=natural_int, default=1, help="seed of weights, order and augmentation")
    parser.add_argument("--sync_bn", action="store_true", help="BatchNorm statistics over all GPUs")
    parser.add_argument(
        "--using_apex", action="store_true", help="official flag; torch's own AMP and DDP are used instead"
    )
    parser.add_argument("--opt_level", default="O0", help="apex level of the official scripts; ignored, see --amp")
    add_network_flags(parser, "4,1,0.5")
    add_depth_flags(parser, 1.06)
    add_size_flags(parser, 640, 512)
    add_machine_flags(parser, amp="off")
    return parser


def check_flags(args: argparse.Namespace) -> None:
    """Raise DataError for flag values that cannot work."""
    check_depth_flags(args)
    network_settings(args)
    channels = args.cr_base_chs or NetworkSettings().cr_base_chs
    if len(args.dlossw) != 3 or len(channels) != 3 or min(channels) < 1:
        raise DataError("--dlossw and --cr_base_chs need three numbers, one per stage")
    if args.share_cr and len(set(channels)) > 1:
        raise DataError("--share_cr needs the same number of --cr_base_chs at every stage")
    for name in ("lr", "wd"):
        if not 0 <= getattr(args, name) < math.inf:
            raise DataError(f"--{name} {getattr(args, name):g}: must be a number from 0 on")
    if not 0 <= args.freeze_bn <= 1:
        raise DataError(f"--freeze_bn {args.freeze_bn:g}: must be a share of the training's steps, from 0 to 1")
    parse_milestones(args.lrepochs)


def start_training(args: argparse.Namespace) -> torch.device:
    """Check the flags, join the process group and seed; returns this process's device."""
    check_flags(args)
    device = distributed.start(args.device, datetime.timedelta(minutes=10))
    if args.using_apex and distributed.is_main():
        print("note: --using_apex: apex's AMP and DDP were retired; torch.amp and torch's DDP are used", flush=True)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    random.seed(args.seed)
    return device


def open_training_sets(args: argparse.Namespace, labels: Path | None = None) -> tuple[MVSDataset, MVSDataset | None]:
    """The training set, with pseudo-labels when given, and the evaluation set when --testlist names one."""
    settings = Settings(
        views=args.nviews,
        numdepth=args.numdepth,
        interval_scale=args.interval_scale,
        max_size=(args.max_w, args.max_h),
        augment=args.augment,
        labels=labels,
    )
    train_set = open_dataset(args.dataset, args.trainpath, args.trainlist, settings)
    if not args.testlist:
        return train_set, None
    settings = dataclasses.replace(settings, augment=False, labels=None, ground_truth=True)
    return train_set, open_dataset(args.dataset, args.testpath or args.trainpath, args.testlist, settings)


def build_network(kind: str, args: argparse.Namespace) -> CascadeMVSNet:
    """A fresh network as the flags say, or else as the checkpoint tells that the training starts from.

    A teacher that starts from a student's weights has that one's 3D U-Nets.
    """
    start = (CheckpointFolder(Path(args.logdir)).newest() if args.resume else None) or args.loadckpt
    chosen = {"grad_method": args.grad_method, "checkpoint_stages": args.checkpoint_stages}
    if start is not None:
        content = read_checkpoint(start)
        chosen |= checkpoint_settings(content, start)
        chosen["extra_input_conv"] = kind == "student" or chosen["extra_input_conv"]
    given = network_settings(args) | {"cr_base_chs": args.cr_base_chs}
    chosen |= {name: value for name, value in given.items() if value is not None}
    try:
        return CascadeMVSNet(NetworkSettings(**(chosen | {"kind": kind})))
    except ValueError as error:
        raise DataError(f"{start}: does not go with these settings: {error}") from None
