"""The flags of the two training programs, and the settings that they mean. Light: --help does not load torch."""

import argparse
import dataclasses
import os
from typing import Any, TypeVar

from tools.runtime.flags import (
    add_dataset_flag,
    add_depth_flags,
    add_machine_flags,
    add_network_flags,
    add_size_flags,
    network_settings,
)
from tools.runtime.program import Formatter, float_list, int_list, natural_int, positive_int
from tools.training.settings import (
    Inputs,
    Machine,
    NetworkChoices,
    Optimisation,
    Saving,
    Schedule,
    Scoring,
    TrainingData,
    TrainingSettings,
    flat,
)

Section = TypeVar("Section")
Settings = TypeVar("Settings", bound=TrainingSettings)


def training_parser(description: str, kind: type[TrainingSettings]) -> argparse.ArgumentParser:
    """The flags that both training programs share, with official names; their defaults are those of `kind`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=Formatter)
    parser.add_argument("--mode", choices=("train", "test", "profile"), default="train", help="test: only evaluate")
    _add_data_flags(parser)
    _add_schedule_flags(parser)
    _add_optimisation_flags(parser)
    _add_saving_flags(parser)
    parser.add_argument("--nviews", type=int, help="views per sample: the reference and its sources")
    parser.add_argument(
        "--augment", action="store_true", help="random colour changes, the same for all views of a sample"
    )
    parser.add_argument("--seed", type=natural_int, help="seed of weights, order and augmentation")
    parser.add_argument("--cr_base_chs", type=int_list, help="base channels of each 3D U-Net (official: 8,8,8)")
    parser.add_argument("--grad_method", choices=("detach", "undetach"), help="gradient from a stage to the one before")
    parser.add_argument(
        "--checkpoint_stages",
        action="store_true",
        help="less memory, more time: compute cost volumes and 3D U-Nets again in the backward pass",
    )
    parser.add_argument("--sync_bn", action="store_true", help="BatchNorm statistics over all GPUs")
    parser.add_argument(
        "--using_apex", action="store_true", help="official flag; torch's own AMP and DDP are used instead"
    )
    parser.add_argument("--opt_level", default="O0", help="apex level of the official scripts; ignored, see --amp")
    add_network_flags(parser, "4,1,0.5")
    defaults = flat(kind(Saving("")))
    add_depth_flags(parser, defaults["interval_scale"])
    add_size_flags(parser, defaults["max_w"], defaults["max_h"])
    add_machine_flags(parser, defaults["amp"])
    shown = {name: _as_typed(value) for name, value in defaults.items() if value is not None and name != "logdir"}
    parser.set_defaults(**shown)
    return parser


def _as_typed(value: Any) -> Any:
    """A default as one would type it, for --help."""
    return ",".join(f"{number:g}" for number in value) if isinstance(value, tuple) else value


def _add_data_flags(parser: argparse.ArgumentParser) -> None:
    add_dataset_flag(parser, TrainingData.dataset)
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
    parser.add_argument("--select_thres_view", type=positive_int, help="--select: sources that must confirm a pixel")


def _add_schedule_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=positive_int, help="passes over the training set")
    parser.add_argument("--max_steps", type=natural_int, help="stop after this many steps, 0 for no limit")
    parser.add_argument("--max_minutes", type=float, help="stop after this time, 0 for no limit")
    parser.add_argument("--eval_freq", type=positive_int, help="epochs between two evaluations")


def _add_optimisation_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch_size", type=positive_int, help="samples per process and step")
    parser.add_argument("--lr", type=float, help="Adam's learning rate")
    parser.add_argument("--lrepochs", help="epochs at which the rate is divided, and the divisor")
    parser.add_argument("--warmup_steps", type=natural_int, help="steps from a third of the rate to all of it")
    parser.add_argument(
        "--freeze_bn",
        type=float,
        help="share of the steps after which BatchNorm uses its running statistics, as in prediction; 1: never",
    )
    parser.add_argument("--wd", type=float, help="weight decay")
    parser.add_argument("--dlossw", type=float_list, help="loss weight of each stage")
    parser.add_argument(
        "--max_bad_steps",
        type=positive_int,
        help="stop after so many losses or gradients in a row that are not finite",
    )


def _add_saving_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--logdir", required=True, help="folder for checkpoints, metrics.jsonl and event files")
    parser.add_argument("--loadckpt", help="start from this checkpoint's weights, a teacher's or a student's")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the newest checkpoint in --logdir as if never stopped"
    )
    parser.add_argument("--summary_freq", type=positive_int, help="steps between two log entries")
    parser.add_argument("--save_freq", type=positive_int, help="epochs between two checkpoints")
    parser.add_argument(
        "--save_steps",
        type=natural_int,
        help="steps between two checkpoints inside an epoch, 0 for none; they replace each other",
    )
    parser.add_argument("--keep", type=natural_int, help="checkpoints to keep, the newest; 0 for all")


def read_data(args: argparse.Namespace) -> TrainingData:
    """The data that the flags name."""
    return _section(TrainingData, args)


def read_settings(args: argparse.Namespace, kind: type[Settings]) -> Settings:
    """The settings that the flags say; raises DataError for values that cannot work."""
    chosen = {name: getattr(args, name) for name in ("cr_base_chs", "grad_method", "checkpoint_stages")}
    sections = {
        "saving": _section(Saving, args),
        "network": NetworkChoices(**network_settings(args), **chosen),
        "inputs": _section(Inputs, args),
        "optimisation": _section(Optimisation, args),
        "schedule": _section(Schedule, args),
        "scoring": _section(Scoring, args),
        "machine": _section(Machine, args),
    }
    others = [field.name for field in dataclasses.fields(kind) if field.name not in sections]
    return kind(**sections, **_given(args, others))


def note_retired_flags(args: argparse.Namespace) -> None:
    """Say what took the place of official flags that have no effect."""
    if args.using_apex and int(os.environ.get("RANK", 0)) == 0:
        print("note: --using_apex: apex's AMP and DDP were retired; torch.amp and torch's DDP are used", flush=True)


def _section(kind: type[Section], args: argparse.Namespace) -> Section:
    """A dataclass whose fields are named as flags; fields without a flag keep their defaults."""
    return kind(**_given(args, [field.name for field in dataclasses.fields(kind)]))


def _given(args: argparse.Namespace, names: list[str]) -> dict[str, Any]:
    """The values of the flags that the program has."""
    return {name: getattr(args, name) for name in names if hasattr(args, name)}
