"""Flags of the official test program that mean the same as others here, or nothing. Light: no torch."""

import argparse

from tools.runtime.program import natural_int
from tools.runtime.retired import TEST_FLAGS, add_retired_flags, note, note_replaced

# What --high_res asks for, whatever --max_w and --max_h say: DTU's full size.
HIGH_RESOLUTION = (1600, 1200)

_WORDS = {"": False, "0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}


def add_official_flags(parser: argparse.ArgumentParser) -> None:
    """Let a parser with the flags of prediction accept the rest of the official test program's."""
    group = parser.add_argument_group("official flags for what others say as well")
    group.add_argument(
        "--high_res",
        type=natural_int,
        metavar="0|1",
        help="1: --max_w {} --max_h {}, whatever these say; 0: as they say".format(*HIGH_RESOLUTION),
    )
    group.add_argument("--pred_depth", type=_truth, metavar="True|False", help="False: --skip_depth")
    add_retired_flags(parser, TEST_FLAGS)


def apply_official_flags(args: argparse.Namespace) -> None:
    """Set the flags that the official ones mean, in place, and say what has changed."""
    note_replaced(args, TEST_FLAGS)
    if args.high_res:
        args.max_w, args.max_h = HIGH_RESOLUTION
        note(f"--high_res: images up to {args.max_w}x{args.max_h} (--max_w, --max_h)")
    if args.pred_depth is False and not args.skip_depth:
        args.skip_depth = True
        note("--pred_depth: nothing is predicted (--skip_depth)")


def _truth(text: str) -> bool:
    """A flag such as `True`; for the official program every word but the empty one was true."""
    try:
        return _WORDS[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False") from None
