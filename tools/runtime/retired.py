"""Official flags that something else replaced: they are accepted, and one line says what took their place."""

import argparse
import os
from typing import Any, NamedTuple

from models.settings import GRAD_METHODS


class _Retired(NamedTuple):
    """What argparse is told of the flag, and what takes its place."""

    options: dict[str, Any]
    instead: str


_TRUE = {"action": "store_true"}

# Named as argparse stores them; with hyphens instead of the underscores they are accepted as well.
_RETIRED = {
    "model": _Retired({}, "there is one network; a checkpoint tells whether it is a teacher or a student"),
    "local_rank": _Retired({"type": int}, "the environment says which process this is; without a launcher it is alone"),
    "using_apex": _Retired(_TRUE, "apex's AMP and DDP were retired; torch.amp and torch's DDP are used"),
    "opt_level": _Retired({}, "apex's levels were retired; --amp says the precision"),
    "keep_batchnorm_fp32": _Retired({}, "apex was retired; under --amp BatchNorm keeps float32 by itself"),
    "loss_scale": _Retired({}, "apex was retired; under --amp fp16 the scale of the loss follows the gradients"),
    "grad_method": _Retired({"choices": GRAD_METHODS}, "only a training has gradients"),
    "display": _Retired(_TRUE, "no window opens; beside each map there is a PNG of it"),
    "fix_res": _Retired(_TRUE, "every view has its own image's size; photos of one size give maps of one size"),
    "save_freq": _Retired({"type": int}, "no clouds of single views are written, only a scan's"),
}

TRAINING_FLAGS = ("model", "local_rank", "using_apex", "opt_level", "keep_batchnorm_fp32", "loss_scale")
PREDICTION_FLAGS = ("model", "local_rank", "grad_method")
TEST_FLAGS = (*PREDICTION_FLAGS, "display", "fix_res", "save_freq")
LAUNCHER_FLAGS = ("local_rank",)  # what python -m torch.distributed.launch adds


def add_retired_flags(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    """Let the parser accept these official flags."""
    group = parser.add_argument_group("official flags that something else replaced")
    for name in names:
        spellings = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
        group.add_argument(*spellings, **_RETIRED[name].options, default=argparse.SUPPRESS, help=_RETIRED[name].instead)


def note_replaced(args: argparse.Namespace, names: tuple[str, ...]) -> None:
    """Say what took the place of each of these flags that was given, once: in the first process."""
    for name in names:
        launched = name == "local_rank" and "RANK" in os.environ  # the environment says what the flag says
        if name in args and not launched:
            note(f"--{name}: {_RETIRED[name].instead}")


def note(text: str) -> None:
    """Print a line of advice in the first process."""
    if os.environ.get("RANK", "0") == "0":
        print(f"note: {text}", flush=True)
